-- This game has no window and no sound.
function love.conf(t)
    t.modules.audio, t.modules.graphics, t.modules.window = false, false, false
end
