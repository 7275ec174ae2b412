-- Runs a receiver that is a C module, as the clients in Lua are run: c_client.lua NAME MODE KIND URL COUNT …
-- The module is a function: it hands each message to the callback in a protected call.
local client = require "client"
local receive = require(table.remove(arg, 1))
local job = client.job(arg)
assert(job.mode == "receive", "this client only receives")

local stop, seconds, cpu
local callback, result = dofile("bench/callback.lua")(job.binary and 16 or 0, job.count, function()
  if not seconds then seconds, cpu = stop() end
end)
stop = client.stopwatch()
receive(job, callback, function() stop = client.stopwatch() end)
local count, bytes, whole, ordered = result()
client.report{
  messages = count, bytes = bytes, seconds = seconds, cpu = cpu,
  ok = whole and ordered and bytes == job.count * job.size,
}
