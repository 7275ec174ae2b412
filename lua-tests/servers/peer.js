// The Node peer, with the library `ws`: some of the behaviours of peer.py, chosen by the path. With CERTIFICATES in
// the environment: TLS. Prints its port.
"use strict";
const fs = require("fs");
const http = require("http");
const https = require("https");
const { WebSocketServer } = require("ws");

const behaviours = {
  "/echo"(ws) {
    ws.on("message", (data, isBinary) => ws.send(data, { binary: isBinary }));
  },
  "/close"(ws, query) {
    for (let i = 1; i <= Number(query.get("count") || 0); i++) ws.send(`message ${i}`);
    ws.close(Number(query.get("code") || 1000), query.get("reason") || "");
  },
  "/close-on-message"(ws, query) {
    ws.on("message", () => ws.close(Number(query.get("code") || 1000), query.get("reason") || ""));
  },
  "/fragments"(ws, query) {
    const binary = query.get("type") === "binary";
    ws.send("abc", { binary, fin: false });
    ws.send("dé", { binary, fin: false });
    ws.send("f", { binary, fin: true });
  },
  "/flood"(ws, query) {
    const size = Number(query.get("size") || 0);
    for (let i = 1; i <= Number(query.get("count")); i++) ws.send(String(i).padEnd(size, "."));
    ws.send("end");
  },
  "/ping"(ws, query) {
    ws.on("pong", (data) => ws.send("answered " + data));
    ws.ping(query.get("payload") || "");
  },
  "/pong"(ws, query) {
    ws.pong(query.get("payload") || "");
  },
  "/count"(ws) {
    let expected = 1;
    ws.on("message", (data) => {
      const message = data.toString();
      if (message === "end") ws.send(`${expected - 1} in order`);
      else if (message.replace(/\.*$/, "") === String(expected)) expected++;
      else if (message !== "") ws.send(`${message} instead of ${expected}`);
    });
  },
};

const folder = process.env.CERTIFICATES;
const listener = folder
  ? https.createServer({ cert: fs.readFileSync(`${folder}/good.pem`), key: fs.readFileSync(`${folder}/good.key`) })
  : http.createServer();
const server = new WebSocketServer({
  server: listener,
  maxPayload: 0,
  perMessageDeflate: { threshold: 0 },
  handleProtocols: (offered) => ["chat", "superchat"].find((name) => offered.has(name)) || false,
});
listener.listen(Number(process.argv[2]), "127.0.0.1", () => console.log(listener.address().port));
server.on("connection", (ws, request) => {
  const url = new URL(request.url, "http://localhost");
  ws.on("error", () => {});
  (behaviours[url.pathname] || behaviours["/echo"])(ws, url.searchParams);
});
// Ends the server after 300 s, in case the test has died without ending it.
setTimeout(() => process.exit(), 300000).unref();
