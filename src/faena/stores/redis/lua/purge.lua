-- Cancel waiting jobs of a queue. ARGV: result_ttl, limit, queue. Answers how many.
local limit, numbers = tonumber(ARGV[5]), {}
local all = redis.call('HGETALL', PLACES)
for _, status in ipairs({PENDING, SCHEDULED_STATUS}) do
    for position = 1, #all, 2 do
        local room = limit - #numbers
        if room > 0 and cmsgpack.unpack(all[position + 1]) == ARGV[6] then
            for _, n in ipairs(redis.call('ZRANGE', index(all[position], status), 0, room - 1)) do
                numbers[#numbers + 1] = n
            end
        end
    end
end
load(numbers)
for _, n in ipairs(numbers) do
    finish_now(heads[n], tonumber(ARGV[4]))
    move(n, 'cancel')
end
flush()
return #numbers
