-- examples/chat_server.lua with a real browser.

local helper = require "helper"
local browser = require "browser"
local websocket = helper.websocket
local command, wait, shows = browser.command, browser.wait, browser.shows
local open_tab, open = browser.open_tab, browser.open

describe("examples/chat_server.lua", function()
  local chat, url

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
    browser.start()
  end)

  lazy_teardown(function()
    browser.stop()
    if chat then chat:stop() end
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
    assert.equal("Error during WebSocket handshake: Unexpected response code: 403", table.concat(browser.errors, "\n"))
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
