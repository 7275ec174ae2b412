#!/usr/bin/env lua
-- wscat: talks to a WebSocket server, or is one, in a terminal or a pipe. man/wscat.1 explains it. For the options:
-- lua5.4 tools/wscat.lua --help
local prefix = arg[0]:match("^(.*)/bin/[^/]*$")
if prefix then -- installed by cmake: the module is in the same prefix
    package.cpath = ("%s/lib/lua/%s/?.so;"):format(prefix, _VERSION:match("%d%.%d")) .. package.cpath
end
local websocket = require "websocket"
local types = websocket.WebSocketMessageType
local MiB = 1024 * 1024
local CLEAN, NOT_CONNECTED, USAGE, LOST, NOT_SENT = 0, 1, 2, 3, 4 -- exit statuses

-- Options

local COMMANDS = "/ping [TEXT], /close [CODE [REASON]], /help; //TEXT sends /TEXT; Ctrl-D or Ctrl-C closes"

-- `parse` reads the names from these lines.
local HELP = [[
Usage: wscat [OPTION]... URL
       wscat [OPTION]... --listen [ADDRESS:]PORT

Each line of the input is a message. Received messages go to the output.

  -l, --listen ADDRESS       be a server: messages go to all its clients
  -b, --binary               send binary messages; a file or pipe is one message
      --chunk BYTES          send a file or pipe as binary messages of this size
  -w, --wait SECONDS         at the end of a file or pipe: close after this silence (1; inf: never)
  -H, --header FIELD         one more header field, "Name: value" *
  -p, --protocol NAME        subprotocol, the preferred one first *
  -o, --origin ORIGIN        Origin of the request; with --listen an allowed one, or "*" *
      --deflate              compression
      --ca FILE              trusted CAs; with --listen those of the clients
      --cert FILE            certificate
      --key FILE             its key
  -k, --insecure             accept any certificate
      --proxy URL            http://, socks5:// or socks5h://; none: no proxy
      --ping SECONDS         ping after this silence
      --connect-timeout SECONDS
      --max-size BYTES       of a received message (64 MiB)
      --reconnect            connect again when the connection is lost
      --debug                show addresses, handshakes and frames
  -h, --help
  -V, --version
* may be given more than once

In a terminal: ]] .. COMMANDS .. [[.

Exit status: 0 closed cleanly; 1 no connection; 2 wrong usage; 3 closed with another code than 1000,
or without a Close; 4 something could not be sent or written.
]]

local function fail(status, text) error({ status = status, text = text }, 0) end
local function wrong(text) fail(USAGE, text .. "; see wscat --help") end

--- Returns the options of the command line by their names. The URL is `url`.
local function parse(arguments)
    local values, long = {}, {} -- "SECONDS", or "" without a value, by name; names by "-x"
    for short, name, value in HELP:gmatch("\n +(%-?%a?),? +%-%-([%l-]+) ?(%u*)") do
        values[name], long[short] = value, name
    end
    local options, i = { header = {}, protocol = {}, origin = {} }, 0
    local function next_argument() i = i + 1 return arguments[i] end
    for word in next_argument do
        local name, value = word:match("^%-%-([^=]+)=(.*)$")
        name = name or word:match("^%-%-(.+)$") or long[word]
        if not word:find("^%-") and not options.url then
            options.url = word
        elseif not values[name] or value and values[name] == "" then
            wrong("unexpected: " .. word)
        elseif values[name] == "" then
            options[name] = true
        else
            value = value or next_argument() or wrong("--" .. name .. " needs a value")
            local least = ({ SECONDS = 0, BYTES = 1 })[values[name]]
            if least then
                value = value == "inf" and math.huge or tonumber(value:match("^[%d.]+$")) or -1
                if value < least then wrong("--" .. name .. " needs a number") end
            end
            if type(options[name]) == "table" then table.insert(options[name], value) else options[name] = value end
        end
    end
    return options
end

-- The terminal: notes and the line being typed go to standard error, messages to standard output

local function succeeds(command) local ok = os.execute(command) return ok == true or ok == 0 end -- 0: Lua 5.1
local function output_of(command)
    local pipe = io.popen(command .. " 2>/dev/null")
    local output = pipe:read("*a")
    pipe:close()
    return output
end

local is_terminal = {} -- by descriptor
for fd = 0, 2 do is_terminal[fd] = succeeds("test -t " .. fd) end
local is_typed = is_terminal[0] and is_terminal[2]
local is_quiet -- a client in a pipe says nothing of success
local is_dumb = os.getenv("TERM") == "dumb"
local has_colours = (os.getenv("NO_COLOR") or "") == "" and not is_dumb

local saved_mode -- of the terminal, as stty prints it; nil while the kernel edits the lines
local columns = 80
local before, after = "", "" -- the line being typed, on both sides of the cursor
local bar = "" -- of a large message, in front of that line
local is_drawn = false

local function measure_terminal() columns = tonumber(output_of("stty size"):match(" ([1-9]%d*)")) or 80 end

local function start_editing()
    if not is_typed or is_dumb then return end
    saved_mode = output_of("stty -g"):match("^%S+")
    -- Ctrl-C is a key like others: a signal would not restore the mode.
    if not succeeds("stty -icanon -echo min 1 time 0 intr undef susp undef") then saved_mode = nil end
    measure_terminal()
end

local function paint(fd, colour, text)
    return is_terminal[fd] and has_colours and ("\27[%sm%s\27[m"):format(colour, text) or text
end

--- Control characters become ^X, those of C1 (two bytes in UTF-8) \x9b: no peer may control the terminal. Further lines
--- are indented: none looks like another message.
local function visible(text)
    text = text:gsub("%c", function(char)
        if char == "\t" or char == "\n" then return char == "\n" and "\n  " end
        return char == "\127" and "^?" or "^" .. string.char(char:byte() + 64)
    end)
    return (text:gsub("\194([\128-\159])", function(byte) return ("\\x%02x"):format(byte:byte()) end))
end

--- The beginning of a binary message, in one line.
local function dump(data)
    local bytes = data:sub(1, 24):gsub(".", function(byte) return (" %02x"):format(byte:byte()) end)
    return ("%d bytes:%s%s"):format(#data, bytes, #data > 24 and " ..." or "")
end

--- The last `count` characters of a text.
local function last(text, count)
    local first = #text + 1
    while count > 0 and first > 1 do
        repeat first = first - 1 until first == 1 or not text:find("^[\128-\191]", first)
        count = count - 1
    end
    return text:sub(first)
end

local function hide()
    if is_drawn then io.stderr:write("\r\27[K") end
    is_drawn = false
end

--- Draws the bar and the line being typed, in one line of the terminal: it does not wrap meanwhile.
local function draw()
    if not saved_mode and bar == "" then return end
    local start = bar .. (saved_mode and "> " or "")
    local left, right = visible(last(before, columns - #start - 1)), visible(after:sub(1, 4 * columns))
    io.stderr:write(table.concat { "\27[?7l\r\27[K", start, left, "\0277", right, "\0278\27[?7h" })
    is_drawn = true
end

local function set_bar(text)
    if text == bar or not is_terminal[2] or is_dumb then return end
    hide()
    bar = text
    draw()
end

--- Writes a line to standard error.
local function note(colour, text)
    hide()
    io.stderr:write(paint(2, colour, visible(text)), "\n")
end
local function complain(text) note("31", (is_typed and "! " or "wscat: ") .. text) end
local function remark(text) if not is_quiet then note("2", "* " .. text) end end

local function write(...) if not io.stdout:write(...) then fail(NOT_SENT, "can't write to standard output") end end
local function flush() if not io.stdout:flush() then fail(NOT_SENT, "can't write to standard output") end end

--- Shows a received message. A program gets it as it is, a text with a line end behind it.
local function show(name, data, is_binary)
    hide()
    if not is_terminal[1] and name == "" then return write(data, is_binary and "" or "\n") end
    local text = is_binary and dump(data) or is_terminal[1] and visible(data) or data
    write(paint(1, "36", name .. "< "), text, "\n")
end

-- The line editor: stock Lua has no readline, and its bindings can't draw the line again after a message has come

local history, place, sequence = {}, 1, nil

local function recall(step)
    if place + step < 1 or place + step > #history + 1 then return end
    place = place + step
    before, after = history[place] or "", ""
end

local next_char = "^.[\128-\191]*"
local keys = {} -- what a key does, by the bytes that the terminal sends

local function bind(list, action) for key in list:gmatch("%S+") do keys[key] = action end end

bind("\27[A \16", function() recall(-1) end) -- up, Ctrl-P
bind("\27[B \14", function() recall(1) end) -- down, Ctrl-N
bind("\27[C \6", function() -- right, Ctrl-F
    local char = after:match(next_char) or ""
    before, after = before .. char, after:sub(#char + 1)
end)
bind("\27[D \2", function() -- left, Ctrl-B
    local char = last(before, 1)
    before, after = before:sub(1, #before - #char), char .. after
end)
bind("\27[H \27[1~ \1", function() before, after = "", before .. after end) -- Home, Ctrl-A
bind("\27[F \27[4~ \5", function() before, after = before .. after, "" end) -- End, Ctrl-E
bind("\27[3~ \4", function() after = after:gsub(next_char, "") end) -- Delete, Ctrl-D
bind("\127 \8", function() before = before:sub(1, #before - #last(before, 1)) end) -- Backspace, Ctrl-H
bind("\21", function() before = "" end) -- Ctrl-U
bind("\23", function() before = before:gsub("%S*%s*$", "", 1) end) -- Ctrl-W

local function enter()
    local line = before .. after
    hide()
    io.stderr:write("> ", visible(line), "\n")
    if line ~= "" and line ~= history[#history] then table.insert(history, line) end
    place, before, after = #history + 1, "", ""
    measure_terminal()
    return line
end

--- Reads the keys pressed so far, at most to Enter. Returns a whole line; false at Ctrl-C, Ctrl-D or the end; or nil.
local function read_keys()
    if not saved_mode then return io.read("*l") or false end
    repeat
        local key = io.read(1)
        if not key or key == "\3" or key == "\4" and before .. after == "" then return false end
        if sequence or key == "\27" then
            sequence, key = (sequence or "") .. key, nil
            -- ESC [ parameters and a letter; ESC O and a letter means the same; Alt and a key is ESC and the key.
            if sequence:find("^\27[%[O][%d;]*[@-~]$") or sequence:find("^\27[^%[O]") then
                key, sequence = sequence:gsub("^\27O", "\27["), nil
            end
        end
        if key == "\n" or key == "\r" then return enter() end
        if keys[key] then keys[key]() elseif key and not key:find("%c") then before = before .. key end
    until not select(2, websocket.poll(0, 0))
    draw()
end

-- The session: a websocket, or a server with its clients

local session -- the client's websocket, or the server
local open = {} -- open websockets
local names = {} -- of websockets: "" in a client; "1 " for a server's first connection
local accepted = 0 -- connections so far
local status, is_failed, is_closing = NOT_CONNECTED, false, false -- is_failed: something could not be sent
local last_event = 0 -- websocket.time()
local upload -- bytes of a large message that is being sent, or nil

local function close(...)
    session:close(...)
    is_closing = true
end

local function buffered()
    local most = 0
    for _, ws in ipairs(open) do most = math.max(most, ws.bufferedamount) end
    return most
end

--- Calls a method of each open websocket.
local function each(method, ...)
    if not open[1] then complain("nobody is connected") end
    for _, ws in ipairs(open) do
        local ok, err = pcall(ws[method], ws, ...)
        if not ok then complain(err) end
        is_failed = is_failed or not ok
    end
end

local function again(info) return info.retryin and ("; again in %.1f s"):format(info.retryin) or "" end

local handlers = {
    [types.OPEN] = function(_, _, info, ws)
        accepted = accepted + 1
        names[ws] = ws.server and accepted .. " " or ""
        table.insert(open, ws)
        local more = (ws.protocol ~= "" and ", " .. ws.protocol or "") .. (ws.extensions ~= "" and ", compressed" or "")
        remark(("%sconnected: %s%s"):format(names[ws], info.address, more))
    end,
    [types.TEXT] = function(data, _, _, ws) show(names[ws], data) end,
    [types.BINARY] = function(data, _, _, ws) show(names[ws], data, true) end,
    [types.FRAGMENT] = function(_, _, info)
        if info.received > MiB then set_bar(("received %.1f MiB "):format(info.received / MiB)) end
    end,
    [types.PONG] = function(data, _, _, ws) remark(names[ws] .. "pong " .. data:gsub("[\128-\255]", "?")) end,
    [types.ERROR] = function(_, err, info, ws) complain((names[ws] or "") .. err .. again(info)) end,
    [types.CLOSE] = function(_, err, info, ws)
        for i, other in ipairs(open) do if other == ws then table.remove(open, i) break end end
        local is_clean = info.clean and (not info.remote or info.code == 1000 or info.code == 1005)
        status = is_clean and CLEAN or LOST
        local words = ("%sclosed: %d %s%s"):format(names[ws], info.code, info.reason .. err, again(info))
        names[ws] = nil
        if is_clean or ws.server then remark(words) else complain(words) end
    end,
}

local function onreceive(type, data, err, info, ws)
    last_event = websocket.time()
    if type ~= types.FRAGMENT and type ~= types.PING and type ~= types.PONG and not upload then set_bar("") end
    if handlers[type] then handlers[type](data, err, info, ws) end
end

local function start(options)
    local settings = {
        onreceive = onreceive, deflate = options.deflate, pinginterval = options.ping, maxbuffered = math.huge,
        connecttimeout = options["connect-timeout"], maxmessagesize = options["max-size"] or 64 * MiB,
        protocols = options.protocol[1] and options.protocol, headers = {}, tls = {},
        debug = options.debug and function(line) note("2", "# " .. line) end,
    }
    for i, field in ipairs(options.header) do
        settings.headers[i] = { field:match("^([^:]+):%s*(.*)$") }
        if not settings.headers[i][1] then wrong('--header needs "Name: value"') end
    end
    for _, name in ipairs { "ca", "cert", "key" } do settings.tls[name] = options[name] end
    if options.insecure then settings.tls.verify = false end
    if not next(settings.tls) then settings.tls = nil end
    if options.listen then
        settings.address = options.listen:find(":") and options.listen or "127.0.0.1:" .. options.listen
        settings.origins = options.origin[1] == "*" and "*" or options.origin[1] and options.origin
    else
        settings.url = options.url:find("^[%w+]+:/") and options.url or "ws://" .. options.url
        settings.reconnect = options.reconnect or false
        if options.proxy then settings.proxy = options.proxy ~= "none" and options.proxy end
        if options.origin[1] then table.insert(settings.headers, { "Origin", options.origin[1] }) end
    end
    local ok, result = pcall(options.listen and websocket.listen or websocket.WebSocket, settings)
    if not ok then fail(result:find("can't listen", 1, true) and NOT_CONNECTED or USAGE, result) end
    session = result
    if options.url then return session:connect() end
    remark(("listening: %s://%s/"):format(settings.tls and "wss" or "ws", session.address))
end

-- The input

local function send(data, is_binary)
    each(is_binary and "sendBinary" or "sendText", data)
    if #data > MiB then upload = #data end
end

local commands = {
    help = function() note("2", COMMANDS) end,
    ping = function(text) each("sendPing", text) end,
    close = function(rest)
        local code, reason = rest:match("^(%d*) *(.*)$")
        close(tonumber(code) or 1000, reason)
    end,
}

local function handle_line(line, is_binary)
    local name, rest = line:match("^/(%a*) ?(.*)$")
    if not name or line:sub(1, 2) == "//" then
        if line ~= "" then send(line:gsub("^//", "/"), is_binary) end
    elseif not commands[name] then
        complain("there is no /" .. name .. "; " .. COMMANDS)
    else
        local ok, err = pcall(commands[name], rest)
        if not ok then complain(err) end
    end
end

local function wait_for_keys(options)
    -- No event says that `close` has ended a connection attempt.
    local _, is_readable = websocket.poll((is_closing or upload) and 0.1 or math.huge, 0)
    local line
    if is_readable then line = read_keys() end
    if line then handle_line(line, options.binary) end
    if line == false and is_closing then fail(LOST, "left before the connection was closed") end
    if line == false then close() end
end

--- Returns the next message from a file or pipe, or nil at the end.
local function read_message(options)
    if options.chunk or not options.binary then return (io.read(options.chunk or "*l")) end
    local data = io.read("*a")
    return data ~= "" and data or nil
end

local ended -- when the input ended, or nil

local function wait_for_pipe(options)
    local waiting = buffered()
    if is_closing then
        websocket.poll(0.1)
    elseif waiting > MiB or ended and waiting > 0 then
        for _, ws in ipairs(open) do ws:flush(0.1, ended and 0 or MiB / 4) end
        ended = ended and websocket.time()
    elseif ended then
        local wait = options.wait or options.listen and math.huge or 1
        local left = math.max(ended, last_event) + wait - websocket.time()
        if left > 0 then websocket.poll(left) else close() end
    elseif not open[1] then
        websocket.poll(math.huge)
    elseif options.is_file or select(2, websocket.poll(math.huge, 0)) then
        local data = read_message(options)
        if data then send(data, options.binary or options.chunk) else ended = websocket.time() end
    end
end

local function show_upload()
    local left = buffered()
    local done = math.floor(20 * math.max(0, 1 - left / upload))
    set_bar(("sending [%s%s] of %.1f MiB "):format(("#"):rep(done), ("-"):rep(20 - done), upload / MiB))
    if left == 0 then
        upload = nil
        set_bar("")
    end
end

local function run(options)
    while not websocket.run(0) do
        if upload then show_upload() end
        if not is_drawn then draw() end
        flush()
        if is_typed then wait_for_keys(options) else wait_for_pipe(options) end
    end
end

--- Returns the exit status.
local function main()
    local options = parse(arg)
    if options.help or options.version then
        write(options.help and HELP or "wscat of " .. websocket._VERSION .. "\n")
        return CLEAN
    end
    local has_url, is_server = options.url ~= nil, options.listen ~= nil
    if has_url == is_server then wrong("give either a URL or --listen") end
    options.is_file = succeeds("test -f /dev/stdin")
    if not options.is_file then io.stdin:setvbuf("no") end -- poll can't see a line in a buffer of Lua's
    is_quiet = not is_typed and not is_server
    start(options)
    start_editing()
    local ok, err = pcall(run, options)
    if not ok and tostring(err):find("interrupted!", 1, true) then -- the error that `lua` raises at SIGINT
        close()
        ok, err = pcall(run, options)
    end
    if not ok then error(err, 0) end
    return options.listen and CLEAN or status == CLEAN and is_failed and NOT_SENT or status
end

local ok, result = pcall(function()
    local exit_status = main()
    flush()
    return exit_status
end)
hide()
if saved_mode then os.execute("stty " .. saved_mode) end
if not ok then
    complain(type(result) == "table" and result.text or tostring(result))
    result = type(result) == "table" and result.status or NOT_SENT
end
os.exit(result, true)
