-- Tell whether a queue has jobs that may go. ARGV: queues. Answers the seconds until that may be so (0: now; '' if no
-- gate is known to open by time), and now.
local soonest = math.huge
for _, queue in ipairs(cmsgpack.unpack(ARGV[4])) do
    if not is_paused('q', queue) then
        for _, priority in ipairs(redis.call('ZRANGE', ROOT .. 'q:' .. queue, 0, -1)) do
            local rank = priority .. ':' .. queue
            if redis.call('EXISTS', pending(queue, priority), ROOT .. 'lr:' .. rank) > 0 then
                return {'0', score(now)}
            end
            local first = redis.call('ZRANGE', ROOT .. 'lc:' .. rank, 0, 0, 'WITHSCORES')[2]
            soonest = math.min(soonest, first == 'inf' and math.huge or tonumber(first or math.huge))
        end
    end
end
return {soonest < math.huge and score(math.max(0, soonest - now)) or '', score(now)}
