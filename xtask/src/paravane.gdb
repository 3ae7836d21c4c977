# Loaded by `cargo xtask gdb`. hbreak works before paging is on; break works once the hypervisor runs high.
set pagination off
set confirm off
set print pretty on
set disassemble-next-line auto

define pv-where
  thread apply all -q -s bt 24
end
document pv-where
Backtrace of every CPU.
end

define pv-regs
  info registers rip rsp rbp eflags cr0 cr2 cr3 cr4 gs_base k_gs_base
  x/6i $rip
end
document pv-regs
The registers that say where a CPU is and in whose address space.
end

define pv-trace
  set language c
  set $pv_header = (unsigned long *)&paravane_trace_header
  set $pv_cpu = 0
  while $pv_cpu < $pv_header[2]
    set $pv_desc = $pv_header + 8 + 8 * $pv_cpu
    if $pv_desc[0] != 0 && $pv_desc[3] != 0
      set $pv_at = $pv_desc[3] > $arg0 ? $pv_desc[3] - $arg0 : 0
      while $pv_at < $pv_desc[3]
        set $pv_entry = (unsigned long *)$pv_desc[0] + 4 * ($pv_at % $pv_desc[2])
        printf "cpu %d  %lu  kind %d  d%dv%d  %#lx %#lx\n", $pv_cpu, $pv_entry[0], $pv_entry[1] & 0xffff, ($pv_entry[1] >> 32) & 0xffff, $pv_entry[1] >> 48, $pv_entry[2], $pv_entry[3]
        set $pv_at = $pv_at + 1
      end
    end
    set $pv_cpu = $pv_cpu + 1
  end
  set language auto
end
document pv-trace
pv-trace N: the last N trace entries of each CPU. Kinds are numbered as in trace/kinds.rs.
end

define pv-panic
  break rust_begin_unwind
  continue
end
document pv-panic
Go on until the hypervisor panics.
end
