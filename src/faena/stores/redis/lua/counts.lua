-- Return how many jobs each queue, task and status has: the sizes of the indices.
local all, counts = redis.call('HGETALL', PLACES), {}
for position = 1, #all, 2 do
    for status = 0, 5 do
        local count = redis.call('ZCARD', index(all[position], status))
        if count > 0 then
            counts[#counts + 1] = '\148' .. all[position + 1] .. cmsgpack.pack(status, count)
        end
    end
end
return array(#counts) .. table.concat(counts)
