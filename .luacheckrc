std = "lua54"
max_line_length = 120
files["types"] = { unused_args = false, ignore = { "241" } }
files["lua-tests"] = { std = "+busted" }
files["examples/neovim.lua"] = { read_globals = { "vim" } }
files["lua-tests/event_loops.lua"] = { std = "+love", read_globals = { "vim" }, ignore = { "122/love" } }
files["lua-tests/game"] = { std = "+love" }
files["examples/love"] = { std = "+love", ignore = { "122/love" } }
files["examples/hosts/nginx"] = { read_globals = { "ngx" } }
files["examples/hosts/haproxy"] = { read_globals = { "core" } }
files["examples/hosts/lighttpd"] = { globals = { "lighty" } }
