-- The callback for received messages that every client with Lua in it hands them to: takes what is needed to
-- tell that none was lost or reordered, and nothing more.
--     local callback, result = dofile "callback.lua"(TYPE, COUNT, finished)
-- `callback(type, data)`; `finished()` is called when the last has come, and again when that was confirmed.
return function(expected_type, expected, finished)
  local count, bytes, last, ordered, whole = 0, 0, "", true, nil

  -- The last message, then "done" and that message again.
  local function finish(data)
    if count == expected then
      finished()
    else
      count = expected
      whole = data == "done" .. last
      finished()
    end
  end

  local function callback(type, data)
    if type ~= expected_type then return end
    count = count + 1
    if count > expected then return finish(data) end
    bytes = bytes + #data
    -- Numbers in the messages grow.
    if data <= last then ordered = false end
    last = data
    if count == expected then finish() end
  end

  --- Count, bytes, whether the end was confirmed (nil before), whether the order was right.
  local function result() return count, bytes, whole, ordered end

  return callback, result
end
