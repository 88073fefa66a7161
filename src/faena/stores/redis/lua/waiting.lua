-- Tell whether a queue has pending jobs. ARGV: queues.
for _, queue in ipairs(cmsgpack.unpack(ARGV[4])) do
    if redis.call('EXISTS', ROOT .. 'q:' .. queue) == 1 then
        return 1
    end
end
return 0
