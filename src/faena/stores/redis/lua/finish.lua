-- Record how attempts ended. ARGV: result_ttl, failure_ttl, outcomes (id, token, step, error, error as text, delay,
-- message, ttl, result's place in ARGV), then results. Answers 1 or 0 (stale) for each.
local RESULT_TTL, FAILURE_TTL = tonumber(ARGV[4]), tonumber(ARGV[5])
local outcomes, ids, answers = cmsgpack.unpack(ARGV[6]), {}, {}
for number, outcome in ipairs(outcomes) do
    ids[number] = outcome[1]
end

-- Return the step that really happens: a cancelled job does not run again, a spent one neither.
local function decide(head, asked)
    local again = asked == 'retry' or asked == 'snooze' or asked == 'release'
    if again and head[CANCEL_REQUESTED] == 1 then
        return 'cancel'
    end
    if asked == 'retry' and head[ATTEMPT] >= head[MAX_ATTEMPTS] then
        return 'fail'
    end
    return asked
end

local function accept(n, head, outcome)
    local step, attempt, message = decide(head, outcome[3]), head[ATTEMPT], outcome[7]
    if GIVES_BACK[step] then
        head[ATTEMPT] = attempt - 1
    end
    head[LAST_STEP] = outcome[3]
    head[MESSAGE] = outcome[7] or head[MESSAGE]
    head[ERROR] = outcome[4] or head[ERROR]
    if step == 'retry' or step == 'snooze' then
        head[DUE_AT] = now + outcome[6]
    end
    if (step == 'retry' or step == 'fail') and outcome[5] then
        message = outcome[5]
    end
    if step == 'complete' then
        head[PROGRESS] = 100
        head[ERROR] = false
        if outcome[9] then
            head[HAS_RESULT] = true
            gather(sets, RESULTS, n, ARGV[6 + outcome[9]])
        end
    end
    if step == 'complete' or step == 'fail' or step == 'cancel' then
        finish_now(head, outcome[8] or (step == 'fail' and FAILURE_TTL or RESULT_TTL))
    else
        free(head)
    end
    move(n, step, message, attempt)
end

for number, n in ipairs(find_ids(ids)) do
    local head, outcome = n and heads[n], outcomes[number]
    if not head or head[TOKEN] ~= outcome[2]
        or (head[STATUS] ~= PROCESSING and head[LAST_STEP] ~= outcome[3]) then
        refused = refused + 1
        answers[number] = '0'
    else
        if head[STATUS] == PROCESSING then
            accept(n, head, outcome)
        end  -- else: this very outcome, told again
        answers[number] = '1'
    end
end
flush()
return table.concat(answers)
