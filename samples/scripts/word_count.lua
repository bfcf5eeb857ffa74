-- Counts lines, words and bytes of standard input; the first argument, if any, is the title.
local text = io.read("a")
local _, lines = text:gsub("\n", "")
local _, words = text:gsub("%S+", "")
if arg[1] then io.write(arg[1], ": ") end
print(("%d lines, %d words, %d bytes"):format(lines, words, #text))
