// ws, the server for Node.js: without compression. A broadcast goes to all of its clients, as in its documentation.
//     node_server.js MODE
'use strict'
const { WebSocketServer } = require('ws')

const broadcasts = process.argv[2] === 'broadcast'
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, backlog: 1024, perMessageDeflate: false })

server.on('listening', () => console.log(server.address().port))
server.on('connection', socket => {
  socket.on('message', (data, isBinary) => {
    if (!broadcasts) return socket.send(data, { binary: isBinary })
    for (const client of server.clients) client.send(data, { binary: isBinary })
  })
})
