-- The callback of every client that contains Lua: counts the messages and checks that none
-- is lost or out of order, with as little work as possible.
--     dofile "callback.lua"(TYPE, COUNT, finished, body)
-- Calls `body(callback, result)`. While `body` runs, the callback's counters are local variables of a running
-- function, as in a script, which is fastest in Lua.
--   callback(type, data)  is called for each message
--   finished()            is called after the last message
--   result()              returns count and bytes, and, once the server has confirmed the end, whether all were right
return function(expected_type, expected, finished, body)
  local before_last = expected - 1
  local count, bytes, last, ordered, confirmed = 0, 0, "", true, nil

  local function take(data)
    -- Numbers in the messages grow.
    if data <= last then ordered = false end
    last = data
    count = count + 1
    bytes = bytes + #data
  end

  -- The end, or a message out of order.
  local function take_special(data)
    if count < expected then
      take(data)
      if count == expected then finished() end
    else
      confirmed = data == "done" .. last
    end
  end

  local function callback(type, data)
    if type ~= expected_type then return end
    if data <= last or count >= before_last then return take_special(data) end
    last = data
    count = count + 1
    bytes = bytes + #data
  end

  local function result()
    if confirmed == nil then return count, bytes, nil end
    return count, bytes, ordered and confirmed
  end

  body(callback, result) -- not a tail call: that would end this function
end
