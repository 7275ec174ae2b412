-- The scripts: their help and their size, the table of them in CONTRIBUTING.md, and with_progress of requirements.sh.

local helper = require "helper"

local top = helper.folder .. "/../"

local scripts = {}
for name in helper.output("cd '" .. top .. "' && find scripts .ci -type f -perm -u+x | sort"):gmatch("[^\n]+") do
  scripts[#scripts + 1] = name
end

describe("each script", function()
  for _, name in ipairs(scripts) do
    it(name .. " answers --help, from any folder", function()
      local path = helper.output("realpath " .. top .. name, "l")
      local output, status = helper.finish(helper.start("env", "-C", "/", path, "--help"))
      assert.equal(0, status, output)
      local first, rest = output:match("^([^\n]*)\n(.*)$")
      assert(first:find("^%u.* "), "the first line says what it does: " .. first)
      assert(("\n" .. rest):find("\n  " .. name, 1, true), "the help shows the command: " .. output)
    end)

    it(name .. " has less than 60 lines", function()
      local _, lines = helper.read_file(top .. name):gsub("\n", "")
      assert(lines < 60, lines .. " lines")
    end)
  end
end)

it("CONTRIBUTING.md lists each script", function()
  local page = helper.read_file(top .. "CONTRIBUTING.md")
  local complaints = {}
  for _, name in ipairs(scripts) do
    if not page:find("\n| `" .. name .. "` |", 1, true) then complaints[#complaints + 1] = name end
  end
  assert.same({}, complaints)
end)

describe("with_progress", function()
  after_each(helper.remove_files)

  --- Runs it with a command; returns the output, the exit status, and what is in the log.
  local function run(command)
    local log = helper.file()
    local script = (". %sscripts/requirements.sh; with_progress words %s %s"):format(top, log, command)
    local output, status = helper.finish(helper.start("bash", "-c", script))
    return output, status, helper.read_file(log)
  end

  it("puts the command's output into the log, and says nothing of a short command", function()
    assert.same({ "", 0, "result\n" }, { run "echo result" })
  end)

  it("returns the command's exit status", function() assert.same({ "", 3, "" }, { run "sh -c 'exit 3'" }) end)
end)
