-- Installing as README.md says: each of its commands, in a home folder of its own, then a script that needs the
-- module. Also the links between the pages, here and where they are installed. The Swift products are those of
-- scripts/test.

local helper = require "helper"

local top = helper.output("cd '" .. helper.folder .. "/..' && pwd", "l")
local page = helper.read_file(top .. "/README.md")
local it_builds = os.getenv("WEBSOCKET_BUILD") and pending or it -- a sanitizer's module is no other's

local function exists(name) return os.execute(("test -e '%s'"):format(name)) == true end

--- The code blocks of README.md for a shell, by a word that only this one has.
local words = { demo = "scripts/demo", script = "hello.lua", luarocks = "luarocks", cmake = "cmake -B", copy = "mkdir",
  check = "lua5.4 -e" }
local blocks, number_of_blocks = {}, 0
for block in page:gmatch("```sh\n(.-)```") do
  number_of_blocks = number_of_blocks + 1
  for name, word in pairs(words) do
    if block:find(word, 1, true) then
      assert(not blocks[name], name)
      blocks[name] = block
    end
  end
end

--- A new empty folder.
local function folder()
  local name = helper.file()
  assert(os.execute(("rm '%s' && mkdir '%s'"):format(name, name)))
  return name
end

local home

--- Runs shell commands as a user does who has just logged in, in a folder. Returns their output.
local function run(commands, where)
  local script = helper.write_file(("set -e\ncd '%s'\n%s"):format(where, commands))
  local settings = ("HOME='%s' PATH='%s' SWIFT_BUILD_DIR='%s/build/swift'"):format(home, os.getenv("PATH"), top)
  local output, code = helper.finish(helper.start("env -i " .. settings .. " timeout 300 bash", script))
  assert.equal(0, code, output)
  return output
end

local version = helper.websocket._VERSION .. "\n"

-- Links

--- The anchors of a page's headings, as GitHub makes them.
local function anchors(text)
  local result, counts = {}, {}
  for heading in ("\n" .. text:gsub("\n```.-\n```", "")):gmatch("\n#+ ([^\n]*)") do
    local anchor = heading:gsub("%[(.-)%]%(.-%)", "%1"):gsub("…", ""):lower():gsub("[^%w%s_\128-\255-]", "")
    -- "Ö" to "ö" and the like.
    anchor = anchor:gsub("\195([\128-\158])", function(c) return "\195" .. string.char(c:byte() + 32) end)
    anchor = anchor:gsub(" ", "-")
    local count = counts[anchor] or 0
    counts[anchor] = count + 1
    result[count == 0 and anchor or anchor .. "-" .. count] = true
  end
  return result
end

--- The links of all pages below a folder that lead to no file, or to no heading.
local function dead_links(where)
  local dead, pages = {}, 0
  local list = "cd '%s' && find . -name '*.md' -not -path './.*/*' -not -path './build*' | sort"
  for name in helper.output(list:format(where)):gmatch("%./([^\n]*)\n") do
    pages = pages + 1
    local text = helper.read_file(where .. "/" .. name)
    local prose = ("\n" .. text):gsub("\n```.-\n```", ""):gsub("`[^`\n]*`", "")
    for link in prose:gmatch("%]%(([^)%s]*)%)") do
      if not link:find("^%a+:") then
        local path, anchor = link:match("^([^#]*)#?(.*)$")
        local file = path == "" and name or (name:match("^.*/") or "") .. path
        local is_found = exists(where .. "/" .. file)
        if is_found and anchor ~= "" then is_found = anchors(helper.read_file(where .. "/" .. file))[anchor] end
        if not is_found then dead[#dead + 1] = name .. ": " .. link end
      end
    end
  end
  assert(pages >= 5, where)
  return table.concat(dead, "\n")
end

-- Examples

--- The commands in the first comments of the examples, `{ program =, line = }`, in a list for each file.
local commands = {}
for file in helper.output("cd '" .. top .. "' && find examples -name '*.lua'"):gmatch("[^\n]+") do
  commands[file] = {}
  for line in helper.read_file(top .. "/" .. file):gmatch("([^\n]*)\n") do
    if not line:find("^%-%-") then break end
    local command = line:match("lua5%.%d examples/.*") or line:match("love examples/.*") or line:match("%S+ nvim .*")
    if command then
      command = command:gsub(", then.*", "")
      table.insert(commands[file], { program = command:match("lua5%.%d") or command:match("%w+"), line = command })
    end
  end
end

describe("the first comment of", function()
  for file, list in pairs(commands) do
    -- The comment of a host's script names the host's configuration instead.
    if not file:find("conf.lua", 1, true) and not file:find("^examples/hosts/") then
      it(file .. " has a command that runs it", function()
        assert(list[1])
        local program = file:match("(.*)/main%.lua$") or file -- a game is a folder
        assert.truthy(list[1].line:find(program .. "%f[^%w/._]"), list[1].line)
        for _, command in ipairs(list) do
          for name in command.line:gmatch("examples/[%w/._]+") do
            assert.is_true(exists(top .. "/" .. name), command.line)
          end
        end
      end)
    end
  end
end)

describe("links between the pages", function()
  it("lead to files and headings", function() assert.equal("", dead_links(top)) end)
end)

describe("README.md: with the commands of", function()
  before_each(function() home = folder() end)
  after_each(function()
    os.execute(("rm -rf '%s' '%s/build.luarocks' '%s/hello.lua'"):format(home, top, top))
    helper.remove_files()
  end)

  it("each block is of a test", function()
    local count = 0
    for _ in pairs(words) do count = count + 1 end
    assert.equal(count, number_of_blocks)
    for name in pairs(words) do assert(blocks[name], name) end
  end)

  it_builds("the demo the first script runs", function()
    assert.is_false(exists(top .. "/hello.lua"))
    local output = run(blocks.demo .. blocks.script, top)
    local expected = assert(page:match("```text\n(.-)```"))
    assert.equal(expected, output:sub(-#expected))
  end)

  it_builds("LuaRocks the module is found, and wscat, the pages and the examples", function()
    local doc = "wscat --version\necho '==='\nluarocks --lua-version=5.4 doc --list websocket\n"
    local output = run(blocks.luarocks .. blocks.check .. doc, top)
    local found, list = output:match("([^\n]*\n[^\n]*\n)===\n(.*)")
    assert.equal(version .. "wscat of " .. version, found)
    local documentation = assert(list:match("\n(/[^\n]*)/\n"), list)
    for _, name in ipairs { "README.md", "LICENSE", "docs/api.md", "examples/echo.lua", "types/websocket.lua" } do
      assert.truthy(list:find("\t" .. name .. "\n", 1, true), name)
      assert.is_true(exists(documentation .. "/" .. name), name)
    end
    assert.equal("", dead_links(documentation))
    local path = run("luarocks --lua-version=5.4 path", top)

    -- A conversation, then each example up to the line that needs the module.
    local said = run(path .. [[
      coproc SERVER { exec lua5.4 examples/echo_server.lua; }
      read -r url <&"${SERVER[0]}"
      lua5.4 examples/echo.lua "$url"
      kill "$SERVER_PID"
    ]], documentation)
    assert.truthy(said:find("Hello, wörld!", 1, true), said)
    local stop_there = [[
      export LUA_INIT="local load = require
        function require(name)
          local module = load(name)
          if name:find '^websocket' then print 'found' os.exit(0, false) end
          return module
        end"
    ]]
    local count = 0
    for _, of_file in pairs(commands) do
      for _, command in ipairs(of_file) do
        if command.program == "lua5.4" then
          count = count + 1
          assert.equal("found\n", run(path .. stop_there .. command.line, documentation), command.line)
        end
      end
    end
    assert.is_true(count >= 15)
  end)

  it_builds("CMake the module is found, and the pages", function()
    local output = run(blocks.cmake .. blocks.check, top)
    assert.equal(version, output:match("[^\n]*\n$"))
    assert.equal("", dead_links(home .. "/.local/share/doc/websocket"))
  end)

  it_builds("a copy the module is found", function() assert.equal(version, run(blocks.copy .. blocks.check, top)) end)

  it("the demo and CMake a machine without Swift is told where to get it", function()
    if exists("/usr/bin/swift") or exists("/usr/local/bin/swift") then
      pending("Swift is in a folder that CMake always searches")
      return
    end
    local tries = "export PATH=/usr/bin:/bin\n! scripts/demo 2>&1\n! cmake -B '" .. home .. "/build' 2>&1\n"
    local output = run(tries, top):gsub("%s+", " ")
    for _, beginning in ipairs { "Swift is missing: ", "Swift was not found. " } do
      assert.truthy(output:find(beginning, 1, true), output)
    end
    assert.equal(2, select(2, output:gsub("https://www%.swift%.org/install/linux/", "")))
  end)
end)
