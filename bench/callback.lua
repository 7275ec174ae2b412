-- The callback that every client with Lua in it hands received messages to: counts them, and tells whether one
-- was lost or is out of order, and as little more as there can be.
--     dofile "callback.lua"(TYPE, COUNT, finished, body)
-- Calls `body(callback, result)`: while that runs, what the callback counts with are local variables of a running
-- function, as in a script, which is what costs Lua least.
--   callback(type, data)  takes a message
--   finished()            is called when the last has come
--   result()              count, bytes; then, once the server has confirmed the end, whether all was right
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

  -- The end, or a message that is out of order.
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
