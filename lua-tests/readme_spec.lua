-- README.md: its first script, and what it says about requirements and tests. install_spec.lua runs its commands.
-- Runs on every version of Lua.

local helper = require "helper"

local page = helper.read_file(helper.folder .. "/../README.md")

local function exists(name)
  local file = io.open(name)
  if file then file:close() end
  return file ~= nil
end

-- A module with a sanitizer needs more.
local ordinary = os.getenv("WEBSOCKET_BUILD") and pending or it

describe("README.md", function()
  after_each(helper.remove_files)

  it("begins with a script that runs unchanged and prints what the page says", function()
    local script = assert(page:match("<<'END'\n(.-)END\n"))
    local output, code = helper.script(script)
    assert.equal(assert(page:match("```text\n(.-)```")), output)
    assert.equal(0, code)
  end)

  it("names tests that exist", function()
    local count = 0
    for name in page:gmatch("`([%w_]+_spec%.lua)`") do
      count = count + 1
      assert.is_true(exists(helper.folder .. "/" .. name), name)
    end
    assert.is_true(count >= 10)
  end)

  it("has the version that the module has", function()
    assert.truthy(page:find("This prints `" .. helper.websocket._VERSION .. "`.", 1, true))
  end)

  ordinary("names the libraries that the module needs", function()
    local libraries = {}
    -- Those of glibc and of the compiler are on every system.
    local known = { libm = true, libc = true, libgcc_s = true, ["ld-linux-x86-64"] = true, ["ld-linux-aarch64"] = true }
    for name in helper.output("objdump -p " .. helper.build .. "/websocket.so"):gmatch("NEEDED +(%S+)") do
      if not known[name:match("^(.-)%.so")] then libraries[#libraries + 1] = "`" .. name .. "`" end
    end
    table.sort(libraries)
    assert.truthy(page:find(table.concat({ libraries[2], libraries[1], libraries[3] }, ", "), 1, true))
    assert.equal(3, #libraries)
  end)

  ordinary("names the glibc that the module needs", function()
    local major, minor = helper.output("ldd --version"):match("(%d+)%.(%d+)\n")
    if tonumber(major) ~= 2 or tonumber(minor) > 36 then
      pending("the module was built with glibc " .. major .. "." .. minor .. ", and the page is about one of Debian 12")
      return
    end
    local highest = 0
    for version in helper.output("objdump -T " .. helper.build .. "/websocket.so"):gmatch("GLIBC_2%.(%d+)") do
      highest = math.max(highest, tonumber(version))
    end
    assert.truthy(page:find("Linux with glibc 2." .. highest .. " or later", 1, true), "2." .. highest)
  end)
end)
