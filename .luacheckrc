std = "lua54"
max_line_length = 120
files["types"] = { unused_args = false, ignore = { "241" } }
files["lua-tests"] = { std = "+busted" }
files["examples/loops/neovim.lua"] = { read_globals = { "vim" } }
files["examples/love"] = { std = "+love" }
