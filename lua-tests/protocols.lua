-- Shared by the specs of examples/protocols: starts servers, and runs an example in Lua 5.4 and in LuaJIT.

local helper = require "helper"

local protocols = {
  name = nil, -- of the example
  environment = "", -- of the example: NAME=VALUE for the shell
}

-- The module for each interpreter; that for LuaJIT may not have been built.
local modules = { [helper.lua] = helper.cpath }
local jit = "./build/lua-jit/"
if os.rename(jit .. "websocket.so", jit .. "websocket.so") then modules.luajit = jit .. "?.so;" end

local processes = {}

--- Starts a program that ends after two minutes at the latest.
function protocols.start(program, ...)
  local process = helper.start(("timeout %d %s"):format(120 * helper.slowness, program), ...)
  processes[#processes + 1] = process
  return process
end

function protocols.start_example(lua, ...)
  local command = ("env 'LUA_CPATH=%s;' %s %s"):format(modules[lua], protocols.environment, lua)
  return protocols.start(command, ("%s/../examples/protocols/%s.lua"):format(helper.folder, protocols.name), ...)
end

--- Runs the example to its end. Returns its output and exit code.
function protocols.run(lua, ...) return helper.finish(protocols.start_example(lua, ...)) end

--- The next line that a process prints.
function protocols.line(process) return process.pipe:read("l") end

--- Reads the lines of a process up to one that has this pattern. Returns its capture.
function protocols.find(process, pattern)
  local text = ""
  while true do
    local next_line = protocols.line(process) or error("no " .. pattern .. " in:\n" .. text, 2)
    local found = next_line:match(pattern)
    if found then return found end
    text = text .. next_line .. "\n"
  end
end

--- Ends all processes.
function protocols.stop()
  while #processes > 0 do table.remove(processes):stop() end
end

--- Returns two functions that make tests with busted's `it`: one that each interpreter passes, and one that takes
--- seconds, so that one interpreter has to do.
function protocols.tests(it)
  return function(what, test)
    for lua in pairs(modules) do it(("%s (%s)"):format(what, lua), function() test(lua) end) end
  end, function(what, test)
    it(what, function() test(helper.lua) end)
  end
end

return protocols
