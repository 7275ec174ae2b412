-- examples/chat_server.lua with a real browser: Chromium without a window, driven over its DevTools protocol by our
-- client.

local helper = require "helper"
local websocket = helper.websocket

describe("examples/chat_server.lua", function()
  local profile, browser, devtools, chat, url, last
  local errors = {} -- of WebSockets in tabs with Network.enable

  --- Sends a command of the DevTools protocol (JSON in `parameters`), and returns the text of its result.
  local function command(method, parameters, session)
    last = last + 1
    devtools:sendText(('{"id":%d,"method":"%s","params":%s%s}'):format(
      last, method, parameters or "{}", session and (',"sessionId":"%s"'):format(session) or ""))
    while true do
      local answer = assert(devtools:receive(3 * helper.TIMEOUT))
      if answer:find(('^{"id":%d[,}]'):format(last)) then
        assert(not answer:find('^{"id":%d+,"error"'), answer)
        return answer
      end
      errors[#errors + 1] = answer:match('"Network.webSocketFrameError".-"errorMessage":"([^"]*)"')
    end
  end

  --- Opens an empty tab. Returns the session by which commands get to the tab.
  local function open_tab()
    local target = command("Target.createTarget", '{"url":"about:blank"}'):match('"targetId":"(%x+)"')
    local answer = command("Target.attachToTarget", ('{"targetId":"%s","flatten":true}'):format(target))
    return answer:match('"sessionId":"(%x+)"')
  end

  --- Leads a tab, or a new one, to an address. Returns its session.
  local function open(address, tab)
    tab = tab or open_tab()
    local answer = command("Page.navigate", ('{"url":"%s"}'):format(address), tab)
    assert(not answer:find("errorText", 1, true), answer)
    return tab
  end

  --- Waits until a condition, in JavaScript, holds in the tab. Returns its value, a string.
  local function wait(session, condition)
    local expression = ([[new Promise(done => {
      const look = () => { const value = %s; value ? done(String(value)) : setTimeout(look, 10); };
      look();
    })]]):format(condition):gsub('["\\]', "\\%0"):gsub("\n", "\\n")
    local parameters = ('{"expression":"%s","awaitPromise":true,"returnByValue":true}'):format(expression)
    local answer = command("Runtime.evaluate", parameters, session)
    return answer:match('"value":"([^"]*)"') or error(answer)
  end

  local function shows(session, text)
    wait(session, ("document.body && document.body.innerText.includes('%s')"):format(text))
  end

  --- Types a text into the tab's form, and presses Enter.
  local function say(session, text)
    wait(session, "document.readyState === 'complete'")
    command("Runtime.evaluate", [[{"expression":"document.querySelector('input').focus()"}]], session)
    command("Input.insertText", ('{"text":"%s"}'):format(text), session)
    for _, type in ipairs { "keyDown", "keyUp" } do
      command("Input.dispatchKeyEvent",
        ([[{"type":"%s","key":"Enter","code":"Enter","windowsVirtualKeyCode":13,"text":"\r"}]]):format(type), session)
    end
  end

  --- How many different rows of pixels a screenshot of the tab has.
  local function rows(session)
    local image = command("Page.captureScreenshot", '{"format":"png"}', session):match('"data":"([^"]+)"')
    local name = helper.write_file(image)
    return helper.output(("%s %s/clients/rows.py <%s"):format(helper.python, helper.folder, name), "n")
  end

  lazy_setup(function()
    local lua = ("env LUA_CPATH='%s' %s"):format(package.cpath, helper.lua)
    chat = helper.start(lua, helper.folder .. "/../examples/chat_server.lua")
    url = chat.pipe:read("l")
    assert(url:find("^http://127%.0%.0%.1:%d+/$"), url)
    profile = helper.output("mktemp -d", "l")
    browser = helper.start("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
      "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
      "--remote-debugging-port=0", "--remote-debugging-address=127.0.0.1", "--user-data-dir=" .. profile, "about:blank")
    local port, path
    helper.wait(function()
      local file = io.open(profile .. "/DevToolsActivePort")
      if not file then return browser:ended() and error(browser.pipe:read("a")) end
      port, path = file:read("l", "l")
      file:close()
      return path
    end, "Chromium")
    last = 0
    devtools = websocket.WebSocket {
      url = "ws://127.0.0.1:" .. port .. path, reconnect = false, maxmessagesize = 2 ^ 26, maxqueued = 2 ^ 26,
    }
    devtools:connect()
    assert(devtools:waitopen(helper.TIMEOUT))
  end)

  lazy_teardown(function()
    if devtools and devtools.state == "open" then
      devtools:sendText('{"id":0,"method":"Browser.close"}')
      websocket.run(helper.TIMEOUT)
    end
    if browser then browser:stop() end
    if chat then chat:stop() end
    if profile then os.execute("rm -r '" .. profile .. "'") end
    helper.remove_files()
  end)

  it("lets two tabs of a browser see each other's messages", function()
    local one = open(url)
    shows(one, "Guest 1 has come")
    local two = open(url)
    shows(one, "Guest 2 has come")
    say(one, "Hello from the first tab")
    shows(two, "Guest 1: Hello from the first tab")
    shows(one, "Guest 1: Hello from the first tab")
    say(two, "<b>Grüße ✓</b>")
    shows(one, "Guest 2: <b>Grüße ✓</b>")
    local blank, page = rows(open_tab()), rows(one)
    assert.equal(1, blank)
    assert(page > 20, page)
    command("Page.close", "{}", two)
    shows(one, "Guest 2 has gone")
  end)

  it("refuses a page of another website: 403", function()
    local page = ([[<!DOCTYPE html><title>other</title><script>
      const socket = new WebSocket("%s");
      let opened = false;
      socket.onopen = () => opened = true;
      socket.onclose = event => document.title = (opened ? "opened " : "failed ") + event.code;
    </script>]]):format(url:gsub("^http", "ws") .. "chat")
    local other = websocket.listen {
      address = "127.0.0.1:0",
      onreceive = function() end,
      onrequest = function() return { body = page, headers = { ["Content-Type"] = "text/html" } } end,
    }
    local tab = open_tab()
    command("Network.enable", "{}", tab)
    open("http://" .. other.address .. "/", tab)
    assert.equal("failed 1006", wait(tab, "document.title.includes(' ') && document.title"))
    wait(tab, "true") -- the error may follow the page's event
    assert.equal("Error during WebSocket handshake: Unexpected response code: 403", table.concat(errors, "\n"))
    other:close()
  end)

  it("serves only its page", function()
    local status = "performance.getEntriesByType('navigation')[0].responseStatus"
    local other, socket = open(url .. "other"), open(url .. "chat")
    shows(other, "There is only /.")
    assert.equal("404", wait(other, status))
    assert.equal("426", wait(socket, status))
  end)
end)
