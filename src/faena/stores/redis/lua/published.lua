-- Read the event log. ARGV: the position to read after ('' : only tell the last one), how many entries, and the bytes
-- after which no further one is read. Answers the last position, those of the first and the last entry that follow, and
-- the entries.
begin()
local last = redis.call('HGET', META, 'position')
local answers = {last, '', ''}
if ARGV[4] ~= '' and tonumber(ARGV[4]) < tonumber(last) then
    local entries = redis.call('XRANGE', FEED, '(' .. ARGV[4] .. '-0', '+', 'COUNT', tonumber(ARGV[5]))
    local size = 0
    for _, entry in ipairs(entries) do
        if size > tonumber(ARGV[6]) then
            break
        end
        size = size + #entry[2][6]
        local position = string.match(entry[1], '^%d+')
        answers[2] = answers[2] == '' and position or answers[2]
        answers[3] = position
        answers[#answers + 1] = entry[2][6]
    end
end
return answers
