// A client with the library `ws`: echo.js URL [deflate]. Sends texts and binary messages of each size, compares each
// echo; prints how many were right, and the extensions. With CA in the environment, it is the file of the CA that is
// trusted.
"use strict";
const fs = require("fs");
const WebSocket = require("ws");

const sizes = [0, 1, 125, 126, 65535, 65536, 1 << 20, 16 << 20];
const messages = [];
for (const size of sizes) {
  // Two bytes for a character; one more byte for an odd size.
  const text = "é".repeat(size / 2) + (size % 2 ? "." : "");
  messages.push([Buffer.from(text), false], [Buffer.alloc(size, Buffer.from([0, 1, 128, 255, 7])), true]);
}

const ws = new WebSocket(process.argv[2], {
  ca: process.env.CA && fs.readFileSync(process.env.CA),
  maxPayload: 0,
  perMessageDeflate: process.argv[3] === "deflate" ? { threshold: 0 } : false,
});
let right = 0;
const send = () => ws.send(messages[right][0], { binary: messages[right][1] });
ws.on("open", send);
ws.on("message", (data, isBinary) => {
  const [expected, wasBinary] = messages[right];
  if (isBinary !== wasBinary || !expected.equals(data)) throw new Error(`${expected.length} bytes came back wrong`);
  if (++right < messages.length) send();
  else ws.close(1000);
});
ws.on("close", (code) => console.log(right, ws.extensions.split(";")[0] || "none", code));
