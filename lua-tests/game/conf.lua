-- LÖVE runs a folder: this one runs the script in the variable SCRIPT, without a window and sound.
function love.conf(t)
  t.modules.audio, t.modules.graphics, t.modules.window = false, false, false
end
