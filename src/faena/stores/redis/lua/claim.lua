-- Take those of the ids that are pending and may go; send the others back. ARGV: worker, lease, request, ids.
local again = repeated()
if again then
    return again
end
local numbers, seen = {}, {}
local function may_go(head)
    local at = place(head[PLACE])
    if is_paused('q', at.queue) or is_paused('t', at.task) then
        return false
    elseif not head[GATES] then
        return true
    end
    local gates, list = gate_room(), lane_room().gates_of(head[GATES])
    if gates.closed_gate(list) then
        return false
    end
    gates.count_taken(list)
    return true
end
for _, n in ipairs(find_ids(cmsgpack.unpack(ARGV[7]))) do
    local head = n and heads[n]
    if head and not seen[n] and head[STATUS] == PENDING then
        seen[n] = true
        if may_go(head) then
            numbers[#numbers + 1] = n
        elseif head[DELIVERED_AT] then
            set_aside(n)
        end
    end
end
return take(numbers)
