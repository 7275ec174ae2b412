-- The sources against docs/design.md: imports, words that belong to one folder, names in the text; and the limits on
-- the length of files and functions. Needs neither the module nor a server.

local top = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") .. "/../"
local FILE_LINES, FUNCTION_LINES = 350, 60

local function read(name)
  local file <close> = assert(io.open(top .. name))
  return file:read("a")
end

--- The files below a folder whose names end in one of these.
local function list(folder, ...)
  local files = {}
  local pipe <close> = assert(io.popen(("cd '%s' && find %s -type f | sort"):format(top, folder)))
  for name in pipe:lines() do
    for _, ending in ipairs { ... } do
      if ending == "" or name:sub(-#ending) == ending then files[#files + 1] = name end
    end
  end
  return files
end

--- The text without comments and strings; lines stay.
local function code(text)
  text = text:gsub("/%*.-%*/", function(comment) return (comment:gsub("[^\n]", "")) end)
  return (text:gsub("//[^\n]*", ""):gsub('"[^"\n]*"', '""'))
end

local design = read("docs/design.md")
local sources = list("Sources", ".swift", ".c", ".h")

--- The rows of the table below a heading of docs/design.md: lists of the names in backticks, a list for each cell.
local function rows(heading)
  local section = assert((design .. "\n#"):match("\n#+ " .. heading .. "\n(.-)\n#"))
  local result = {}
  for line in section:gmatch("|([^\n]*)|") do
    local row = {}
    for cell in (line .. "|"):gmatch("([^|]*)|") do
      local names = {}
      for name in cell:gmatch("`([^`]*)`") do names[#names + 1] = name end
      row[#row + 1] = names
    end
    if row[1][1] then result[#result + 1] = row end
  end
  assert(#result > 0, "no table below " .. heading)
  return result
end

local function sorted(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, " ")
end

local function set(names)
  local result = {}
  for _, name in ipairs(names) do result[name] = true end
  return result
end

--- Asserts that a list of complaints is empty.
local function none(complaints) assert(#complaints == 0, "\n" .. table.concat(complaints, "\n")) end

local targets = {}
for _, row in ipairs(rows("Imports")) do targets[row[1][1]] = { package = set(row[2]), system = set(row[3]) } end

describe("the imports in docs/design.md are", function()
  local target_of_header = {}
  for _, name in ipairs(list("Sources", ".h")) do
    target_of_header[name:match("[^/]*$")] = name:match("Sources/(%w+)/")
  end

  it("for each folder of Sources", function()
    local folders = {}
    for _, name in ipairs(sources) do folders[name:match("Sources/(%w+)/")] = true end
    assert.equal(sorted(folders), sorted(targets))
  end)

  for target, allowed in pairs(targets) do
    it("those of " .. target, function()
      local package, system = {}, {}
      for _, name in ipairs(list("Sources/" .. target, ".swift", ".c", ".h")) do
        local text = read(name)
        for module in ("\n" .. text):gmatch("\n[%l ]*import (%w+)") do
          if module ~= target then (targets[module] and package or system)[module] = true end
        end
        for header in text:gmatch("#include [<\"]([^>\"]*)[>\"]") do
          local other = target_of_header[header]
          if other and other ~= target then package[other] = true end
          local library = header:match("^openssl") or header:match("^zlib") or header:match("^lua") or
            header:match("^lauxlib")
          if library then system[library] = true end
        end
      end
      assert.equal(sorted(allowed.package), sorted(package))
      assert.equal(sorted(allowed.system), sorted(system))
    end)
  end

  it("the dependencies in Package.swift", function()
    local found = {}
    local manifest = code(read("Package.swift"):gsub('"', "'")):gsub("\n%s*", " ")
    for declaration in manifest:gmatch("arget(%b())") do
      local name, dependencies = declaration:match("name: '(%w+)'"), declaration:match("dependencies: (%b[])") or ""
      if targets[name] then
        found[name] = {}
        for dependency in dependencies:gmatch("'(%w+)'") do found[name][dependency] = true end
      end
    end
    for target, allowed in pairs(targets) do
      -- The manifest declares no dependencies for a system library (CZlib, COpenSSL).
      if found[target] then
        assert.equal(target .. ": " .. sorted(allowed.package), target .. ": " .. sorted(found[target]))
      end
    end
  end)
end)

describe("each word of docs/design.md is only in its files:", function()
  for _, row in ipairs(rows("Only here")) do
    for _, word in ipairs(row[1]) do
      it(word, function()
        local complaints, is_used = {}, false
        for _, name in ipairs(sources) do
          local is_allowed = false
          for _, place in ipairs(row[2]) do
            if name:find("Sources/" .. place, 1, true) == 1 then is_allowed = true end
          end
          local number = 0
          for line in code(read(name)):gmatch("[^\n]*") do
            number = number + 1
            local before = (" " .. line):match("(.)" .. word:gsub("%p", "%%%0"))
            if before and not before:find("[%w_.]") then
              is_used = true
              if not is_allowed then complaints[#complaints + 1] = ("%s:%d: %s"):format(name, number, line) end
            end
          end
        end
        none(complaints)
        assert(is_used, "nothing uses it")
      end)
    end
  end
end)

it("each Mutex is in the table of locks of docs/design.md", function()
  local listed, found = {}, {}
  for _, row in ipairs(rows("Locks")) do listed[row[1][1]:match("%w+$")] = true end
  for _, name in ipairs(sources) do
    for lock in code(read(name)):gmatch("let (%w+)[:= ]+Mutex[<(]") do found[lock] = true end
  end
  found.whileBlocked = true -- the fork lock, a lock of C
  assert.equal(sorted(found), sorted(listed))
end)

describe("docs/design.md names", function()
  local texts, all = {}, {}
  for _, folder in ipairs { "Sources", "Tests", "lua-tests", "scripts", "tools", "types" } do
    for _, name in ipairs(list(folder, "")) do
      local base = name:match("[^/]*$")
      texts[base] = (texts[base] or "") .. read(name)
    end
  end
  for _, name in ipairs(sources) do all[#all + 1] = read(name) end
  all = table.concat(all)

  it("files and folders that exist", function()
    local complaints = {}
    for name in design:gmatch("`([%w_/+.-]+)`") do
      local is_file = name:find("%.swift$") or name:find("%.[ch]$") or name:find("%.lua$")
      if is_file and not texts[name:match("[^/]*$")] or name:find("^Sources/") and #list(name, "") == 0 then
        complaints[#complaints + 1] = name
      end
    end
    none(complaints)
  end)

  it("types and functions that exist", function()
    local complaints = {}
    local function exists(word) return all:find("%f[%w_]" .. word .. "%f[^%w_]") end
    for name in design:gmatch("`([%w_.]+)[%(%w:)]*`") do
      local type, member = name:match("^(%u%w*%l%w*)%.(%l%w*)$")
      type = type or name:match("^%u%w*%l%w*$") or name:match("^ws_[%w_]+$")
      if type and not texts[name] and not targets[name] and not (exists(type) and (not member or exists(member))) then
        complaints[#complaints + 1] = name
      end
    end
    none(complaints)
  end)
end)

describe("a source file", function()
  it("begins with a comment", function()
    local complaints = {}
    for _, name in ipairs(sources) do
      local first = read(name)
      if not first:find("^//") and not first:find("^/%*") then complaints[#complaints + 1] = name end
    end
    none(complaints)
  end)

  it(("has at most %d lines"):format(FILE_LINES), function()
    local complaints = {}
    for _, folder in ipairs { "Sources", "Tests" } do
      for _, name in ipairs(list(folder, ".swift", ".c", ".h")) do
        local _, lines = read(name):gsub("\n", "")
        if lines > FILE_LINES then complaints[#complaints + 1] = ("%s: %d lines"):format(name, lines) end
      end
    end
    none(complaints)
  end)
end)

--- The lines of a function that begins at a line: to the first line that is indented no deeper and closes it.
local function function_length(lines, first)
  local indent = #lines[first]:match("^ *")
  local last = first
  repeat
    last = last + 1
    local line = lines[last]
  until not line or line:find("%S") and #line:match("^ *") <= indent and not line:find("^ *[%){]")
  return last - first + 1
end

it(("a function has at most %d lines"):format(FUNCTION_LINES), function()
  local complaints = {}
  for _, folder in ipairs { "Sources", "Tests" } do
    for _, name in ipairs(list(folder, ".swift", ".c", ".h")) do
      local lines = {}
      for line in code(read(name)):gmatch("([^\n]*)\n") do lines[#lines + 1] = line end
      for number, line in ipairs(lines) do
        local begins
        if name:find("%.swift$") then
          begins = line:find("%f[%w]func ") or line:find("^ *[%l ]*init[?(<]") or line:find("^ *deinit") or
            line:find("^ *[%l() ]*var [^=]*{$")
        else
          begins = line:find("^%a.*%(") and not line:find(";$")
        end
        local length = begins and function_length(lines, number) or 0
        if length > FUNCTION_LINES then
          complaints[#complaints + 1] = ("%s:%d: %d lines"):format(name, number, length)
        end
      end
    end
  end
  none(complaints)
end)
