-- A real browser for the specs: Chromium without a window, driven over its DevTools protocol by our client. The tabs
-- are known by their sessions.

local helper = require "helper"
local websocket = helper.websocket

local browser = {
  errors = {}, -- of WebSockets in tabs with Network.enable
}

local process, profile, devtools, last

function browser.start()
  profile = helper.output("mktemp -d", "l")
  process = helper.start("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-port=0", "--remote-debugging-address=127.0.0.1", "--user-data-dir=" .. profile, "about:blank")
  local port, path
  helper.wait(function()
    local file = io.open(profile .. "/DevToolsActivePort")
    if not file then return process:ended() and error(process.pipe:read("a")) end
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
end

function browser.stop()
  if devtools and devtools.state == "open" then
    devtools:sendText('{"id":0,"method":"Browser.close"}')
    websocket.run(helper.TIMEOUT)
  end
  if process then process:stop() end
  if profile then os.execute("rm -r '" .. profile .. "'") end
  process, profile, devtools = nil, nil, nil
end

--- Sends a command of the DevTools protocol (JSON in `parameters`), and returns the text of its result.
function browser.command(method, parameters, session)
  last = last + 1
  devtools:sendText(('{"id":%d,"method":"%s","params":%s%s}'):format(
    last, method, parameters or "{}", session and (',"sessionId":"%s"'):format(session) or ""))
  while true do
    local answer = assert(devtools:receive(3 * helper.TIMEOUT))
    if answer:find(('^{"id":%d[,}]'):format(last)) then
      assert(not answer:find('^{"id":%d+,"error"'), answer)
      return answer
    end
    browser.errors[#browser.errors + 1] = answer:match('"Network.webSocketFrameError".-"errorMessage":"([^"]*)"')
  end
end

--- Opens an empty tab. Returns the session by which commands get to the tab.
function browser.open_tab()
  local target = browser.command("Target.createTarget", '{"url":"about:blank"}'):match('"targetId":"(%x+)"')
  local answer = browser.command("Target.attachToTarget", ('{"targetId":"%s","flatten":true}'):format(target))
  return answer:match('"sessionId":"(%x+)"')
end

--- Leads a tab, or a new one, to an address. Returns its session.
function browser.open(address, tab)
  tab = tab or browser.open_tab()
  local answer = browser.command("Page.navigate", ('{"url":"%s"}'):format(address), tab)
  assert(not answer:find("errorText", 1, true), answer)
  return tab
end

--- Waits until a condition, in JavaScript, holds in the tab. Returns its value, a string.
function browser.wait(session, condition)
  local expression = ([[new Promise(done => {
    const look = () => { const value = %s; value ? done(String(value)) : setTimeout(look, 10); };
    look();
  })]]):format(condition):gsub('["\\]', "\\%0"):gsub("\n", "\\n")
  local parameters = ('{"expression":"%s","awaitPromise":true,"returnByValue":true}'):format(expression)
  local answer = browser.command("Runtime.evaluate", parameters, session)
  return answer:match('"value":"([^"]*)"') or error(answer)
end

--- Waits until the text of the page in the tab contains these words.
function browser.shows(session, text)
  browser.wait(session, ("document.body && document.body.innerText.includes('%s')"):format(text))
end

return browser
