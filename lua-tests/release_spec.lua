-- The version, which is in Sources/CLua/version.h, and the rockspecs: that of the sources, and that of a release as
-- packaging/sources.sh writes it. scripts/release itself is not run: it builds the module for each version of Lua.

local helper = require "helper"
local websocket = require "websocket"

local top = helper.folder .. "/../"
local version = helper.read_file(top .. "Sources/CLua/version.h"):match('\n#define WS_VERSION "(.-)"\n')

describe("the version", function()
  it("is three numbers, as in semantic versioning", function()
    assert.truthy(version:find("^%d+%.%d+%.%d+$"), version)
    for number in version:gmatch("%d+") do assert.equal(tostring(tonumber(number)), number) end
  end)

  it("is in websocket._VERSION, behind the name", function()
    assert.equal("websocket " .. version, websocket._VERSION)
    assert.equal("websocket", websocket._NAME)
  end)

  it("is that of the newest release in CHANGELOG.md", function()
    assert.equal(version, helper.read_file(top .. "CHANGELOG.md"):match("\n## %[?(%d+%.%d+%.%d+)"))
  end)
end)

describe("the rockspec", function()
  --- Both values of `luarocks lint` for a rockspec: its output and its exit status.
  local function lint(rockspec) return helper.output(("luarocks lint '%s' 2>&1; echo $?"):format(rockspec)) end

  it("of the sources has no faults", function()
    assert.equal("0\n", lint(top .. "websocket-scm-1.rockspec"))
  end)

  it("of a release has its version and the address of its sources, and no faults", function()
    local folder = os.tmpname()
    os.remove(folder)
    local rockspec = ("%s/websocket-%s-1.rockspec"):format(folder, version)
    finally(function() os.execute(("rm -r '%s'"):format(folder)) end)
    local command = "mkdir '%s' && cd '%s' && . packaging/sources.sh && write_rockspec %s https://example.org >'%s'"
    assert(os.execute(command:format(folder, top, version, rockspec)))
    assert.equal("0\n", lint(rockspec))
    local fields = {}
    assert(loadfile(rockspec, "t", fields))()
    assert.equal(version .. "-1", fields.version)
    assert.same({ url = ("https://example.org/websocket-%s.tar.gz"):format(version) }, fields.source)
  end)
end)
