-- Gives older versions of Lua the library functions of Lua 5.4 that the specs use. Loaded by helper.lua, and by each
-- script that a spec starts. On 5.4 and later it changes nothing. Syntax that only some versions have is not used by
-- specs that run on every version: no integers and bit operators, no goto, no <close>, no \x and \u in strings.
-- luacheck: ignore 122 142 143

local globals = _G
local methods = getmetatable(io.stdout).__index
-- Busted runs this again for each spec.
package.originals = package.originals or {
  collectgarbage = collectgarbage, load = load, setmetatable = setmetatable, xpcall = xpcall,
  execute = os.execute, exit = os.exit, format = string.format, popen = io.popen, read = methods.read,
}
local originals = package.originals

local unpack = table.unpack or globals.unpack
table.unpack = unpack

function table.pack(...) return { n = select("#", ...), ... } end

if not math.type then
  function math.type(value)
    return type(value) == "number" and (value == math.floor(value) and "integer" or "float") or nil
  end
  math.maxinteger = 2 ^ 53
end

coroutine.isyieldable = coroutine.isyieldable or function()
  local thread, is_main = coroutine.running()
  return thread ~= nil and not is_main
end

function globals.collectgarbage(option, ...)
  -- Only some versions have the generational mode.
  local results = table.pack(pcall(originals.collectgarbage, option, ...))
  if not results[1] and option ~= "generational" then error(results[2], 2) end
  return unpack(results, 2, results.n)
end

-- Before 5.3, the formats of read begin with an asterisk.
function methods.read(file, ...)
  local formats = table.pack(...)
  for i = 1, formats.n do
    if type(formats[i]) == "string" then formats[i] = formats[i]:gsub("^%a", "*%0") end
  end
  return originals.read(file, unpack(formats, 1, formats.n))
end

if _VERSION == "Lua 5.1" then
  function globals.load(chunk, ...)
    return (type(chunk) == "string" and globals.loadstring or originals.load)(chunk, ...)
  end

  function globals.xpcall(f, handler, ...)
    local arguments = table.pack(...)
    return originals.xpcall(function() return f(unpack(arguments, 1, arguments.n)) end, handler)
  end

  --- 5.1 takes only strings for %s.
  function string.format(pattern, ...)
    local values, n = table.pack(...), 0
    for letter in pattern:gsub("%%%%", ""):gmatch("%%[^%a]*(%a)") do
      n = n + 1
      if letter == "s" and n <= values.n then values[n] = tostring(values[n]) end
    end
    return originals.format(pattern, unpack(values, 1, values.n))
  end

  --- Tables have no finalizers: a userdata that only the table refers to has one.
  function globals.setmetatable(object, metatable)
    if metatable and rawget(metatable, "__gc") then
      local proxy = globals.newproxy(true)
      getmetatable(proxy).__gc = function() metatable.__gc(object) end
      rawset(object, proxy, true)
    end
    return originals.setmetatable(object, metatable)
  end

  function os.exit(code)
    if type(code) == "boolean" then code = code and 0 or 1 end
    originals.exit(code or 0)
  end

  --- The three results of os.execute and close in 5.4, from a shell's exit status.
  local function results(status)
    if status == 0 then return true, "exit", 0 end
    if status > 128 then return nil, "signal", status - 128 end
    return nil, "exit", status
  end

  function os.execute(command) return results(math.floor(originals.execute(command) / 256)) end

  local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

  -- A pipe's close returns no status: a shell writes it into a file.
  local Pipe = {}
  Pipe.__index = Pipe
  for _, name in ipairs { "read", "write", "lines", "setvbuf", "flush" } do
    Pipe[name] = function(self, ...) return self.file[name](self.file, ...) end
  end

  function Pipe:close()
    self.file:close()
    local file = assert(io.open(self.status))
    local status = file:read("n")
    file:close()
    os.remove(self.status)
    return results(status)
  end

  function io.popen(command, mode)
    local status = os.tmpname()
    -- Without this error output, bash would print how the command was ended.
    local script = ("exec 3>&2 2>/dev/null; sh -c %s 2>&3 3>&-; echo $? >%s"):format(quote(command), status)
    local file, err = originals.popen("exec bash -c " .. quote(script), mode)
    if not file then return nil, err end
    return setmetatable({ file = file, status = status }, Pipe)
  end
end
