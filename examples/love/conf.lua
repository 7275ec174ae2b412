function love.conf(t)
    t.window.title, t.window.width, t.window.height = "Coins", 400, 300
end
