-- Adds up the numbers in the JSON array on standard input.
local text = io.read("a")
local list = text:match("^%s*%[(.-)%]%s*$") or error("the input is not a list of numbers")
local sum, count = 0, 0
for part in list:gmatch("[^,]+") do
  sum = sum + (tonumber(part) or error("this is no number: " .. part))
  count = count + 1
end
print(('{"sum": %s, "count": %d}'):format(sum, count))
