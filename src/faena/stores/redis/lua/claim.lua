-- Take those of the ids that are pending. ARGV: worker, lease, request, ids.
local again = repeated()
if again then
    return again
end
local numbers, seen = {}, {}
for _, n in ipairs(find_ids(cmsgpack.unpack(ARGV[7]))) do
    if n and not seen[n] and heads[n][STATUS] == PENDING then
        seen[n] = true
        numbers[#numbers + 1] = n
    end
end
return take(numbers)
