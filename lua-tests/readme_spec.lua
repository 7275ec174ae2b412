-- The example of README.md.
-- Runs on every version of Lua.

local helper = require "helper"

describe("README.md", function()
  after_each(helper.remove_files)

  it("begins with an example that runs unchanged", function()
    local example = helper.read_file(helper.folder .. "/../README.md"):match("```lua\n(.-)```")
    local output, code = helper.script(example)
    assert.equal("1\t\t\n0\tYou said: Hello, world!\t\n2\t\t\n", output)
    assert.equal(0, code)
  end)
end)
