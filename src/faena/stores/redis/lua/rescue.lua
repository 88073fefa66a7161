-- Take jobs from holders whose lease expired. ARGV: limit, max_crashes, result_ttl, failure_ttl. Answers the
-- deliveries of those that are pending again.
local numbers = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, tonumber(ARGV[4]))
local again = {}
load(numbers)
local function crash(n, head)
    local told = 'the job crashed its worker ' .. head[CRASHES]
        .. ' times (its lease expired and nobody extended it)'
    head[ERROR] = '{"type":"Crashed","message":"' .. told .. '","traceback":null}'
    finish_now(head, tonumber(ARGV[7]))
    move(n, 'crash', 'Crashed: ' .. told)
end
for _, n in ipairs(numbers) do
    local head = heads[n]
    head[CRASHES] = head[CRASHES] + 1
    if head[CANCEL_REQUESTED] == 1 then
        finish_now(head, tonumber(ARGV[6]))
        move(n, 'cancel')
    elseif head[CRASHES] >= tonumber(ARGV[5]) then
        crash(n, head)
    else
        local told, attempt = 'rescued from ' .. head[WORKER] .. ': its lease expired', head[ATTEMPT]
        head[ATTEMPT] = attempt - 1
        free(head)
        move(n, 'rescue', told, attempt)
        again[#again + 1] = n
    end
end
flush()
return deliveries(delivered(again))
