// ws, the client for Node.js: compression only for its workloads, the writes of a batch corked into one.
// Text is converted to a string, as a script needs it.
'use strict'
const fs = require('fs')
const WebSocket = require('ws')

const [mode, kind, url, countText, sizeText, file] = process.argv.slice(2)
const count = Number(countText)
const size = Number(sizeText)
const binary = kind === 'binary'
const TICKING = 1000
const OPENING_AT_ONCE = 256

function readPayloads () {
  const bytes = fs.readFileSync(file)
  const list = []
  for (let at = 0; at < bytes.length; at += size) {
    const piece = bytes.subarray(at, at + size)
    list.push(binary ? piece : piece.toString())
  }
  return list
}

const seconds = () => performance.now() / 1e3

function stopwatch () {
  const start = seconds()
  const cpu = process.cpuUsage()
  return () => {
    const stop = seconds()
    const { user, system } = process.cpuUsage(cpu)
    return { seconds: stop - start, cpu: (user + system) / 1e6 }
  }
}

function report (fields) {
  console.log(JSON.stringify({ ...fields, rss: process.memoryUsage.rss() }))
  process.exit(0)
}

// Checks the messages like client.h; `finished` is called once the end was confirmed.
function tally (measure, finished) {
  const result = { messages: 0, bytes: 0, ordered: true, whole: false, measured: null }
  let last = binary ? Buffer.alloc(0) : ''
  const done = binary
    ? data => data.equals(Buffer.concat([Buffer.from('done'), last]))
    : data => data === 'done' + last
  result.take = (message) => {
    const data = binary ? message : message.toString()
    if (result.messages === count) {
      result.whole = done(data)
      return finished()
    }
    result.messages++
    result.bytes += message.length
    if (binary ? Buffer.compare(data, last) <= 0 : data <= last) result.ordered = false
    last = data
    if (result.messages === count) result.measured = measure()
  }
  result.ok = () => result.ordered && result.whole && result.bytes === count * size
  return result
}

function open (opened) {
  const ws = new WebSocket(url, {
    perMessageDeflate: kind === 'json' ? { threshold: 0 } : false,
    rejectUnauthorized: false
  })
  ws.on('open', () => opened(ws))
  ws.on('error', error => { throw error })
  return ws
}

// Opens `count` connections, a few at a time.
function openMany (total, ready) {
  const all = []
  let begun = 0
  const next = () => {
    if (begun === total) return
    begun++
    open(ws => {
      all.push(ws)
      if (all.length === total) ready(all)
      else next()
    })
  }
  for (let i = 0; i < OPENING_AT_ONCE; i++) next()
}

const modes = {
  receive () {
    open(ws => {
      const received = tally(stopwatch(), () => {
        const { messages, bytes, measured } = received
        report({ messages, bytes, ...measured, ok: received.ok() })
      })
      ws.on('message', received.take)
      ws.send('go')
    })
  },

  send () {
    const payloads = readPayloads()
    const cycle = payloads.length
    const batch = Math.max(1, Math.floor((256 << 10) / size))
    open(ws => {
      const socket = ws._socket
      const measure = stopwatch()
      ws.on('message', data => {
        report({ messages: count, bytes: count * size, ...measure(), ok: data.toString() === `done ${count}` })
      })
      let sent = 0
      // Two batches at a time: one waits for the kernel, one is being made.
      const next = () => {
        if (sent === count) return
        const last = Math.min(sent + batch, count) - 1
        socket.cork()
        for (; sent < last; sent++) ws.send(payloads[sent % cycle])
        ws.send(payloads[sent++ % cycle], next)
        socket.uncork()
      }
      next()
      next()
    })
  },

  roundtrip () {
    const payloads = readPayloads()
    const times = new Float64Array(count)
    let n = 0
    let ok = true
    let start
    open(ws => {
      const measure = stopwatch()
      ws.on('message', data => {
        times[n] = seconds() - start
        if (data.toString() !== payloads[n % payloads.length]) ok = false
        if (++n === count) {
          const measured = measure()
          times.sort()
          const p50 = times[count >> 1]
          const p99 = times[Math.floor(count * 0.99)]
          report({ messages: count, ...measured, p50, p99, ok })
        }
        start = seconds()
        ws.send(payloads[n % payloads.length])
      })
      start = seconds()
      ws.send(payloads[0])
    })
  },

  idle () {
    const empty = process.memoryUsage.rss()
    const measure = stopwatch()
    openMany(count, all => report({ messages: all.length, ...measure(), empty, ok: true }))
  },

  tick () {
    openMany(TICKING, all => {
      const measure = stopwatch()
      let left = TICKING
      const results = []
      for (const ws of all) {
        const received = tally(() => null, () => {
          if (--left) return
          const messages = results.reduce((sum, result) => sum + result.messages, 0)
          report({ messages, bytes: messages * size, ...measure(), ok: results.every(result => result.ok()) })
        })
        results.push(received)
        ws.on('message', received.take)
        ws.send('go')
      }
    })
  }
}

modes[mode]()
