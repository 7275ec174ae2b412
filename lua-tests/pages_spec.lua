-- What pages of docs say of the project: tests and files that they name exist; docs/migrating.md names functions and
-- options that exist, in code that Lua can load.

local helper = require "helper"

describe("docs/reliability.md", function()
  local page = helper.read_file(helper.folder .. "/../docs/reliability.md")

  it("names tests that exist", function()
    -- "lua-tests/poll_spec.lua:12: NAME", for each test; NAME also has the words around the test.
    local list = helper.output("busted --lua=" .. helper.lua .. " --list lua-tests")
    local files, complaints, count = {}, {}, 0
    for file, name in list:gmatch("([%w_]+_spec)%.lua:%d+: ([^\n]*)") do
      files[file] = (files[file] or "") .. name .. "\n"
    end
    for file, name in page:gmatch("%- `([%w_]+_spec): ([^\n]*)`\n") do
      count = count + 1
      if not (files[file] and files[file]:find(name .. "\n", 1, true)) then
        complaints[#complaints + 1] = file .. ": " .. name
      end
    end
    assert.same({}, complaints)
    local _, tests = page:gsub("_spec: ", "")
    assert.equal(tests, count)
  end)
end)

describe("each file exists that is named in", function()
  local top = helper.folder .. "/../"
  local folders = {
    Sources = true, Tests = true, ["lua-tests"] = true, scripts = true, docs = true, fuzz = true, linking = true,
    examples = true, types = true, bench = true,
  }

  for _, page in ipairs { "docs/workarounds.md", "docs/versions.md", "docs/design.md" } do
    it(page, function()
      local complaints = {}
      for name in helper.read_file(top .. page):gmatch("`([%w_+./-]+)`") do
        local folder = name:match("^([%w-]+)/")
        if folders[folder] or name:find("_spec%.lua$") then
          local file = io.open(top .. (folder and name or "lua-tests/" .. name))
          if file then file:close() else complaints[#complaints + 1] = name end
        end
      end
      assert.same({}, complaints)
    end)
  end
end)
