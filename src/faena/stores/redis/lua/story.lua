-- Read a job and its events, in one step. ARGV: id, the seq to read after. Answers the job and the events ('' if
-- there is no such job).
local n = find_ids({ARGV[4]})[1]
local head = n and heads[n]
if not head then
    return {'', ''}
end
local after, runs, count = tonumber(ARGV[5]), {}, 0
if after + 1 < head[KEPT_FROM] then
    for _, packed in ipairs(redis.call('LRANGE', ROOT .. 'h:' .. n, 0, -1)) do
        local run = cmsgpack.unpack(packed)
        if run[1] > after then
            runs[#runs + 1] = run[3]
            count = count + run[2]
        end
    end
end
runs[#runs + 1] = redis.call('HGET', EVENTS, n) or ''
count = count + head[SEQ] - head[KEPT_FROM] + 1
return {answer({n}), array(count) .. table.concat(runs)}
