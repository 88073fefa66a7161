-- Take those of the ids that are pending and may go; send the others back. ARGV: worker, lease, request, ids.
local again = repeated()
if again then
    return again
end
local numbers, seen = {}, {}
local function may_go(head)
    local at, gates_here = place(head[PLACE]), gates_of(head[GATES])
    if is_paused('q', at.queue) or is_paused('t', at.task) or closed_gate(gates_here) then
        return false
    end
    count_taken(gates_here)
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
