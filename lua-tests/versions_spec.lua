-- Each build of the module in the interpreter of each version, as docs/troubleshooting.md has it in its tables. Builds
-- and interpreters that this machine lacks are left out.

local helper = require "helper"

local page = helper.read_file(helper.folder .. "/../docs/troubleshooting.md")
local versions = { "5.1", "5.2", "5.3", "5.4", "5.5", "LuaJIT" }

local function exists(name)
  local file = io.open(name)
  if file then file:close() end
  return file ~= nil
end

--- Where scripts/requirements.sh builds the module for a version; nil if it has not.
local function build_of(version)
  local folder = version == "5.4" and "build" or "build/lua-" .. (version == "LuaJIT" and "jit" or version)
  return exists(folder .. "/websocket.so") and folder or nil
end

--- The interpreter of a version, or nil.
local function interpreter_of(version)
  local name = version == "LuaJIT" and "luajit" or version == "5.5" and helper.prefix .. "/bin/lua" or "lua" .. version
  return os.execute(name .. " -v >/dev/null 2>&1") and name or nil
end

--- The cells of each row of the table whose first heading is this one.
local function rows(heading)
  local table_text = assert(page:match("\n| " .. heading .. " |[^\n]*\n|[-|]*\n(.-)\n\n"), heading)
  local result = {}
  for line in (table_text .. "\n"):gmatch("|([^\n]*)|\n") do
    local cells = {}
    for cell in (line .. "|"):gmatch(" *([^|]-) *|") do cells[#cells + 1] = cell end
    result[#result + 1] = cells
  end
  assert(#result > 0, heading)
  return result
end

describe("the build for", function()
  after_each(helper.remove_files)

  --- What happens when an interpreter loads the module from a folder and uses it: a word of the table. Fails if it is
  --- none of them, for example if the interpreter is killed.
  local function outcome(build, interpreter, name)
    local script = helper.write_file(([[
      package.cpath = "%s/?.so"
      local is_loaded, websocket = pcall(require, "%s")
      if not is_loaded then
        print(websocket)
        return
      end
      local errors = 0
      local ws = websocket.WebSocket { url = "ws://127.0.0.1:1", onreceive = function() errors = errors + 1 end }
      ws:connect()
      websocket.poll(10)
      ws:close()
      print(errors == 1 and websocket.run(1) and "works")
    ]]):format(build, name))
    local output, code = helper.finish(helper.start(interpreter, script))
    assert.equal(0, code, output)
    for _, words in ipairs { "undefined symbol: lua", "websocket.so was built for Lua", "works" } do
      if output:find(words, 1, true) then return words, output end
    end
    error(output)
  end

  local words_of_page = {
    works = "works",
    ["undefined symbol"] = "undefined symbol: lua",
    ["built for Lua"] = "websocket.so was built for Lua",
  }

  for _, cells in ipairs(rows("built for")) do
    local built_for = table.remove(cells, 1)
    local build = build_of(built_for)
    for i, version in ipairs(versions) do
      local interpreter = build and interpreter_of(version)
      if interpreter then
        it(("%s in %s: %s"):format(built_for, version, cells[i]), function()
          for _, name in ipairs { "websocket", "websocket.global" } do
            local words, output = outcome(build, interpreter, name)
            assert.equal(assert(words_of_page[cells[i]], cells[i]), words)
            if cells[i] == "built for Lua" then
              local sentence = "websocket.so was built for Lua %s, and this is Lua %s: install the build for Lua %s\n"
              assert.equal(sentence:format(built_for, version, version), output)
            end
          end
        end)
      end
    end
  end

  for _, cells in ipairs(rows("its output contains")) do
    for version in cells[3]:gmatch("[%w.]+") do
      local build = build_of(version)
      if build then
        it(version .. " needs " .. cells[1], function()
          local symbols = helper.output("nm -D " .. build .. "/websocket.so")
          assert.truthy(symbols:find(" " .. cells[1]:match("[%w_]+") .. "\n", 1, true))
          local other = cells[2]:match("[%w_]+")
          if other then assert.is_nil(symbols:find(" " .. other .. "\n", 1, true)) end
        end)
      end
    end
  end
end)
