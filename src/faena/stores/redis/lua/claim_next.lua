-- Take the first pending jobs of the queues, in their order. ARGV: worker, lease, request, limit, queues.
local again = repeated()
if again then
    return again
end
local limit, numbers, seen = tonumber(ARGV[7]), {}, {}
for _, queue in ipairs(cmsgpack.unpack(ARGV[8])) do
    if #numbers >= limit then
        break
    end
    if not seen[queue] then
        seen[queue] = true
        for _, priority in ipairs(redis.call('ZRANGE', ROOT .. 'q:' .. queue, 0, -1)) do
            local room = limit - #numbers
            if room <= 0 then
                break
            end
            for _, n in ipairs(redis.call('ZRANGE', pending(queue, priority), 0, room - 1)) do
                numbers[#numbers + 1] = n
            end
        end
    end
end
load(numbers)
return take(numbers)
