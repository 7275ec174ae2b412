-- What pages of docs say of the project: tests and files that they name exist; docs/migrating.md names functions and
-- options that exist, in code that Lua can load.

local helper = require "helper"
local names = require "names"

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

  for _, page in ipairs { "CONTRIBUTING.md", "docs/workarounds.md", "docs/versions.md", "docs/design.md" } do
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

describe("docs/migrating.md", function()
  local page = helper.read_file(helper.folder .. "/../docs/migrating.md")
  local known = names.of_page()

  --- The union of groups of names.
  local function union(...)
    local set = {}
    for _, group in ipairs { ... } do
      for name in pairs(assert(known[group], group)) do set[name] = true end
    end
    return set
  end

  local options = union("options", "options of tls", "options of listen", "options of tls of listen",
    "what onrequest returns", "options of deflate")
  -- What stands before a name, and the set of names.
  local places = {
    { "%f[%w]ws:(%w+)", union("methods") },
    { "%f[%w]ws%.(%w+)", union("methods", "properties") },
    { "%f[%w]websocket%.(%w+)", union("the module") },
    { "%f[%w]types%.(%w+)", union("message types") },
    { "%f[%w]info%.(%w+)", union("info") },
    { "%f[%w]request%.(%w+)", union("fields of a request") },
    { "[{,] ?(%l+) = ", options },
  }
  local rows = {} -- the second column of the tables
  for row in page:gmatch("\n| [^\n]- |( [^\n]*) |%f[\n]") do rows[#rows + 1] = row end

  it("has code that Lua can load", function()
    local count, complaints = 0, {}
    for _, row in ipairs(rows) do
      for code in row:gmatch("`([^`]+)`") do
        count = count + 1
        if not load(code) and not load("return " .. code) then complaints[#complaints + 1] = code end
      end
    end
    assert.same({}, complaints)
    assert(count > 70, count)
  end)

  --- The code; for the names of options only the tables in it, without those of header fields.
  local function options_of(code, set)
    return set == options and (code:match("%b{}") or ""):gsub("headers = %b{}", "headers = {}") or code
  end

  it("names what there is", function()
    local complaints = {}
    for _, row in ipairs(rows) do
      for code in row:gmatch("`([^`]+)`") do
        for _, place in ipairs(places) do
          for name in options_of(code, place[2]):gmatch(place[1]) do
            if not place[2][name] then complaints[#complaints + 1] = name .. " in " .. code end
          end
        end
      end
    end
    assert.same({}, complaints)
  end)
end)
