-- Runs a receiver that is a C module like a client in Lua: c_client.lua NAME MODE KIND URL COUNT …
-- The module is a function: it passes each message to the callback in a protected call, and calls its third
-- argument at the start.
local client = require "client"
local receive = require(table.remove(arg, 1))
local job = client.job(arg)
assert(job.mode == "receive", "this client only receives")

local stop, seconds, cpu
local function begin() stop = client.stopwatch() end
local function finished() seconds, cpu = stop() end

dofile("bench/callback.lua")(job.binary and 16 or 0, job.count, finished, function(callback, result)
  receive(job, callback, begin)
  local count, bytes, ok = result()
  client.report{
    messages = count, bytes = bytes, seconds = seconds, cpu = cpu, ok = ok and bytes == job.count * job.size,
  }
end)
