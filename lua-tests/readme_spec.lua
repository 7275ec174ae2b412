-- The example of README.md.
-- Runs on every version of Lua.

local helper = require "helper"

describe("README.md", function()
  local python
  lazy_setup(function() python = helper.serve("python") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.remove_files)

  it("begins with an example that runs unchanged", function()
    local example = helper.read_file(helper.folder .. "/../README.md"):match("```lua\n(.-)```")
    local here, changes = example:gsub("ws://127.0.0.1:9000/", python:url("/echo"))
    assert.equal(1, changes)
    local output, code = helper.script(here)
    assert.equal("1\t\t\n0\tHello, world!\t\n2\t\t\n", output)
    assert.equal(0, code)
  end)
end)
