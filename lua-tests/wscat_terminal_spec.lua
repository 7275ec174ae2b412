-- tools/wscat.lua in a terminal, which tmux makes: what is typed and what the screen shows.
-- Runs on every version of Lua.

local helper = require "helper"
local own = require "own_server"

local tool = helper.folder .. "/../tools/wscat.lua"

describe("wscat in a terminal", function()
  local folder, tmux, server
  local terminals = 0
  lazy_setup(function() folder = helper.output("mktemp -d", "l") end)
  lazy_teardown(function()
    os.execute("rm -r '" .. folder .. "'")
    helper.stop_servers()
  end)
  before_each(function() server = own.listen { maxmessagesize = 2 ^ 24 } end)
  local function stop() os.execute(tmux .. "kill-server 2>/dev/null") end
  after_each(function()
    stop()
    own.close()
    helper.close_clients()
    helper.remove_files()
  end)

  local function screen(options) return helper.output(tmux .. "capture-pane -p " .. (options or "")) end

  --- Waits until the screen shows these lines, or a part of them, one below the other.
  local function sees(text)
    helper.wait(function() return screen():find(text, 1, true) end, function() return text .. " on\n" .. screen() end)
  end

  --- Types a text; presses the keys that tmux knows by these names.
  local function say(text, ...)
    local command = { tmux .. "send-keys -l -- '" .. text .. "'" }
    if text == "" then command = {} end
    for _, key in ipairs { ... } do command[#command + 1] = tmux .. "send-keys " .. key end
    assert(os.execute(table.concat(command, " && ")))
  end

  --- Runs wscat with these words of a shell in a terminal of 60 columns. Then the screen shows its exit status, and
  --- whether the terminal edits lines.
  local function start(words, variables)
    local name = helper.write_file(([[
      env %s LUA_CPATH='%s' %s %s %s
      echo "exit status $?" $(stty -a | grep -o '[-]*icanon') $(stty -a | grep -o '[-]*echo ')
      exec cat
    ]]):format(variables or "", package.cpath, helper.lua, tool, words))
    terminals = terminals + 1 -- a socket of its own: the last server may still be ending
    tmux = ("env LC_ALL=C.UTF-8 tmux -u -S %s/%d -f /dev/null "):format(folder, terminals)
    assert(os.execute(tmux .. "new-session -d -x 60 -y 20 'sh " .. name .. "'"))
  end

  local function ends(status) sees(("exit status %d icanon echo\n"):format(status)) end

  --- Starts wscat as the server's client.
  local function connect(options, variables)
    start((options or "") .. " '" .. server:url() .. "'", variables)
    sees("* connected: " .. server.server.address .. "\n>")
  end

  it("sends what is typed and shows the answers", function()
    connect()
    say("hello", "Enter")
    sees("> hello\n< hello\n>")
    say("", "Enter")
    say("Grüße ✓ 漢字", "Enter")
    sees("> hello\n< hello\n>\n> Grüße ✓ 漢字\n< Grüße ✓ 漢字\n>")
    say("", "C-d")
    sees("* closed: 1000")
    ends(0)
    assert.equal(1000, server:get("CLOSE").info.code)
  end)

  it("keeps what is typed when a message comes", function()
    connect()
    say("half a li")
    sees("> half a li")
    local ws = server:get("OPEN").ws
    ws:sendText("between")
    sees("* connected: " .. server.server.address .. "\n< between\n> half a li\n")
    say("ne", "Enter")
    sees("< between\n> half a line\n< half a line\n>")
  end)

  it("edits the line, and brings earlier lines back", function()
    connect()
    say("first", "Enter")
    sees("< first")
    say("dörd", "Left", "Left", "BSpace")
    say("wo", "End")
    say("!", "Home")
    say("a ", "Enter")
    sees("> a dword!\n< a dword!\n")
    say("", "Up", "Up", "Down", "Up", "DC", "C-e", "BSpace", "Enter") -- DC: Delete, at the end of the line
    sees("> firs\n< firs\n")
    say("", "Up")
    say("t again", "C-w")
    say("x", "C-a", "DC", "Right", "M-x", "F5", "Tab", "Enter")
    sees("> irst x\n< irst x\n")
    say("gone", "C-u", "Up", "Down", "Up", "Enter")
    sees("> irst x\n< irst x\n> irst x\n< irst x\n")
  end)

  it("shows the end of a line that is too long", function()
    connect()
    local line = ("0123456789"):rep(9)
    say(line)
    sees(server.server.address .. "\n> " .. line:sub(-57) .. "\n\n")
    say("", "Home")
    sees(server.server.address .. "\n> " .. line:sub(1, 57))
    say("", "Enter")
    assert.equal(line, server:get("TEXT").data)
  end)

  it("shows control characters and does not obey them", function()
    connect()
    -- U+009B is CSI in one character of two bytes.
    server:get("OPEN").ws:sendText("a\27[2J\194\1552J\r\7\127\nb\tc")
    sees("* connected: " .. server.server.address .. "\n< a^[[2J\\x9b2J^M^G^?\n  b     c\n>")
    server.accepted[1]:sendBinary(("\27"):rep(30))
    sees("< 30 bytes:" .. (" 1b"):rep(16))
    server.accepted[1]:close(4000, "\27[2J")
    sees("! closed: 4000 ^[[2J")
    ends(3)
  end)

  it("has commands", function()
    connect()
    say("/ping a b", "Enter")
    sees("> /ping a b\n* pong a b\n>")
    assert.equal("a b", server:get("PING").data)
    say("//ping", "Enter")
    sees("< /ping\n")
    say("/help", "Enter")
    sees("/ping [TEXT], /close")
    say("/pong", "Enter")
    sees("! there is no /pong")
    say("/close 1", "Enter")
    sees("! ")
    say("/close 4000 good bye", "Enter")
    ends(0)
    local info = server:get("CLOSE").info
    assert.equal("4000 good bye", info.code .. " " .. info.reason)
  end)

  it("--binary sends what is typed as binary messages", function()
    connect("--binary")
    say("ab", "Enter")
    sees("< 2 bytes: 61 62")
    assert.equal("ab", server:get("BINARY").data)
  end)

  it("ends at Ctrl-C, also while it connects; without waiting at the second", function()
    connect()
    say("half", "C-c")
    ends(0)
    assert.equal(1000, server:get("CLOSE").info.code)
    stop()
    local raw = helper.serve("raw")
    start("--debug '" .. raw:url("/silence") .. "'")
    sees("GET /silence")
    say("", "C-c")
    ends(1)
    stop()
    start("'" .. raw:url("/accepts?end=mute") .. "'")
    sees("* connected")
    say("", "C-c", "C-c")
    sees("! left before the connection was closed")
    ends(3)
  end)

  it("ends when the server closes", function()
    connect()
    server:get("OPEN").ws:close(1000, "enough")
    sees("* closed: 1000 enough")
    ends(0)
  end)

  it("has colours, unless NO_COLOR is set or the terminal is dumb", function()
    local sign = { [""] = true, ["NO_COLOR=1"] = false, ["TERM=dumb"] = false }
    for variables, has_colours in pairs(sign) do
      start("'" .. server:url() .. "'", variables)
      sees("* connected")
      say("coloured", "Enter")
      sees("< coloured")
      assert.equal(has_colours, screen("-e"):find("\27[36m< ", 1, true) ~= nil, variables)
      stop()
    end
  end)

  it("leaves lines to a dumb terminal", function()
    start("'" .. server:url() .. "'", "TERM=dumb")
    sees("* connected")
    say("plain", "Enter")
    sees("plain\n< plain\n")
    say("", "C-d")
    ends(0)
  end)

  it("writes messages to a file, and the rest to the terminal", function()
    local out = helper.file()
    connect(">" .. out)
    say("to the file", "Enter")
    helper.wait(function() return helper.read_file(out) == "to the file\n" end, "the file")
    assert.equal("* connected: " .. server.server.address .. "\n> to the file\n>\n", (screen():gsub("\n+$", "\n")))
  end)

  it("shows the progress of a large message that it sends", function()
    local raw, name = helper.serve("raw"), helper.write_file(("x"):rep(2 ^ 25))
    start(("--binary '%s' <%s"):format(raw:url("/accepts?end=held&key=bar"), name))
    sees("-] of 32.0 MiB")
    assert.truthy(screen():find("^sending %[#*%-+%] of 32%.0 MiB"), screen())
    helper.client(raw:url("/release?key=bar"))
    ends(0)
    assert.is_nil(screen():find("sending", 1, true))
  end)

  it("shows the progress of a large message that comes in fragments", function()
    local python, out = helper.serve("python"), helper.file()
    start(("'%s' >%s"):format(python:url("/held-fragment?size=3145728"), out))
    sees("received 3.0 MiB >")
    say("go on", "Enter")
    helper.wait(function() return #helper.read_file(out) == 3145730 end, "the message")
    sees("> go on\n>")
    assert.is_nil(screen():find("received", 1, true))
  end)

  it("is a server", function()
    start("--listen 0")
    sees("* listening: ws://127.0.0.1:")
    local url = screen():match("ws://%S+")
    say("to nobody", "Enter")
    sees("! nobody is connected")
    local one = helper.client { url = url, reconnect = false }:open()
    sees("* 1 connected: 127.0.0.1:")
    local two = helper.client { url = url, reconnect = false }:open()
    sees("* 2 connected: 127.0.0.1:")
    say("to all", "Enter")
    assert.equal("to all", one:get("TEXT").data)
    assert.equal("to all", two:get("TEXT").data)
    two.ws:sendText("from two")
    sees("2 < from two\n>")
    one:close(4001, "tired")
    sees("* 1 closed: 4001 tired\n>")
    say("/close 4002", "Enter")
    assert.equal(4002, two:get("CLOSE").info.code)
    ends(0)
  end)
end)
