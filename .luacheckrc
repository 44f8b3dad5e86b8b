std = "lua54"
max_line_length = 200
globals = { "sluice" }
files["**/*_spec.lua"].std = "+busted"
exclude_files = { "build/", "spec/e2e/node_modules/" }
