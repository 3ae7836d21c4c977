// Sizes and offsets in bytes of the structures that Xen's headers have too. `lib.rs` holds the Rust structures to
// them when it is compiled; `tests/headers.rs` holds the C headers to them, where these are installed.
// A field whose C name differs, or which stands for a union's arm, names it in quotes.
layouts! {
    struct mmu_update(16) { ptr = 0, val = 8 }
    struct mmuext_op(24) { cmd = 0, arg1 = 8, arg2 = 16 }
    struct multicall_entry(64) { op = 0, result = 8, args = 16 }
    struct vcpu_time_info(32) {
        version = 0, pad0 = 4, tsc_timestamp = 8, system_time = 16, tsc_to_system_mul = 24, tsc_shift = 28,
        flags = 29, pad1 = 30,
    }
    struct arch_vcpu_info(16) { cr2 = 0, pad = 8 }
    struct vcpu_info(64) {
        evtchn_upcall_pending = 0, evtchn_upcall_mask = 1, evtchn_pending_sel = 8, arch = 16, time = 32,
    }
    struct arch_shared_info(48) {
        max_pfn = 0, pfn_to_mfn_frame_list_list = 8, nmi_reason = 16, p2m_cr3 = 24, p2m_vaddr = 32,
        p2m_generation = 40,
    }
    struct shared_info(3136) {
        vcpu_info = 0, evtchn_pending = 2048, evtchn_mask = 2560, wc_version = 3072, wc_sec = 3076, wc_nsec = 3080,
        wc_sec_hi = 3084, arch = 3088,
    }
    struct start_info(1168) {
        magic = 0, nr_pages = 32, shared_info = 40, flags = 48, store_mfn = 56, store_evtchn = 64, console = 72,
        pt_base = 88, nr_pt_frames = 96, mfn_list = 104, mod_start = 112, mod_len = 120, cmd_line = 128,
        first_p2m_pfn = 1152, nr_p2m_frames = 1160,
    }
    struct xen_multiboot_mod_list(16) { mod_start = 0, mod_end = 4, cmdline = 8, pad = 12 }
    struct dom0_vga_console_info(40) { video_type = 0, u = 4 }
    struct xenctl_bitmap(16) { bitmap = 0, nr_bits = 8 }
    struct trap_info(16) { vector = 0, flags = 1, cs = 2, address = 8 }
    struct iret_context(72) {
        rax = 0, r11 = 8, rcx = 16, flags = 24, rip = 32, cs = 40, rflags = 48, rsp = 56, ss = 64,
    }
    struct cpu_user_regs(200) {
        r15 = 0, r14 = 8, r13 = 16, r12 = 24, rbp = 32, rbx = 40, r11 = 48, r10 = 56, r9 = 64, r8 = 72, rax = 80,
        rcx = 88, rdx = 96, rsi = 104, rdi = 112, error_code = 120, entry_vector = 124, rip = 128, cs = 136,
        saved_upcall_mask = 140, rflags = 144, rsp = 152, ss = 160, es = 168, ds = 176, fs = 184, gs = 192,
    }
    struct vcpu_guest_context(5168) {
        fpu_ctxt = 0, flags = 512, user_regs = 520, trap_ctxt = 720, ldt_base = 4816, ldt_ents = 4824,
        gdt_frames = 4832, gdt_ents = 4960, kernel_ss = 4968, kernel_sp = 4976, ctrlreg = 4984, debugreg = 5048,
        event_callback_eip = 5112, failsafe_callback_eip = 5120, syscall_callback_eip = 5128, vm_assist = 5136,
        fs_base = 5144, gs_base_kernel = 5152, gs_base_user = 5160,
    }
    struct xen_arch_domainconfig(8) { emulation_flags = 0, misc_flags = 4 }
    struct xen_cpuid_leaf(24) { leaf = 0, subleaf = 4, a = 8, b = 12, c = 16, d = 20 }
    struct xen_msr_entry(16) { idx = 0, flags = 4, val = 8 }
    struct xennmi_callback(16) { handler_address = 0, pad = 8 }
    struct evtchn_alloc_unbound(8) { dom = 0, remote_dom = 2, port = 4 }
    struct evtchn_bind_interdomain(12) { remote_dom = 0, remote_port = 4, local_port = 8 }
    struct evtchn_bind_virq(12) { virq = 0, vcpu = 4, port = 8 }
    struct evtchn_bind_pirq(12) { pirq = 0, flags = 4, port = 8 }
    struct evtchn_bind_ipi(8) { vcpu = 0, port = 4 }
    struct evtchn_close(4) { port = 0 }
    struct evtchn_send(4) { port = 0 }
    struct evtchn_status(24) { dom = 0, port = 4, status = 8, vcpu = 12, u0 "u" = 16, u1 "u.interdomain.port" = 20 }
    struct evtchn_bind_vcpu(8) { port = 0, vcpu = 4 }
    struct evtchn_unmask(4) { port = 0 }
    struct evtchn_reset(2) { dom = 0 }
    struct evtchn_init_control(24) { control_gfn = 0, offset = 8, vcpu = 12, link_bits = 16 }
    struct evtchn_expand_array(8) { array_gfn = 0 }
    struct evtchn_set_priority(8) { port = 0, priority = 4 }
    struct evtchn_op(28) { cmd = 0, u = 4 }
    struct evtchn_fifo_control_block(72) { ready = 0, _rsvd = 4, head = 8 }
    struct sched_shutdown(4) { reason = 0 }
    struct sched_poll(24) { ports = 0, nr_ports = 8, timeout = 16 }
    struct sched_remote_shutdown(8) { domain_id = 0, reason = 4 }
    struct sched_watchdog(8) { id = 0, timeout = 4 }
    struct sched_pin_override(4) { pcpu = 0 }
    struct vcpu_runstate_info(48) { state = 0, state_entry_time = 8, time = 16 }
    struct vcpu_register_runstate_memory_area(8) { addr = 0 }
    struct vcpu_set_periodic_timer(8) { period_ns = 0 }
    struct vcpu_set_singleshot_timer(16) { timeout_abs_ns = 0, flags = 8 }
    struct vcpu_register_vcpu_info(16) { mfn = 0, offset = 8, rsvd = 12 }
    struct vcpu_get_physid(8) { phys_id = 0 }
    struct vcpu_register_time_memory_area(8) { addr = 0 }
    struct callback_register(16) { typ "type" = 0, flags = 2, address = 8 }
    struct callback_unregister(4) { typ "type" = 0, _unused = 2 }
    struct grant_entry_v1(8) { flags = 0, domid = 2, frame = 4 }
    struct grant_entry_header(4) { flags = 0, domid = 2 }
    union grant_entry_v2(16) { hdr = 0, word "sub_page.page_off" = 4, frame "full_page.frame" = 8 }
    struct gnttab_map_grant_ref(32) {
        host_addr = 0, flags = 8, grant_ref "ref" = 12, dom = 16, status = 18, handle = 20, dev_bus_addr = 24,
    }
    struct gnttab_unmap_grant_ref(24) { host_addr = 0, dev_bus_addr = 8, handle = 16, status = 20 }
    struct gnttab_setup_table(24) { dom = 0, nr_frames = 4, status = 8, frame_list = 16 }
    struct gnttab_dump_table(4) { dom = 0, status = 2 }
    struct gnttab_transfer(24) { mfn = 0, domid = 8, grant_ref "ref" = 12, status = 16 }
    struct gnttab_copy_ptr(16) { u = 0, domid = 8, offset = 10 }
    struct gnttab_copy(40) { source = 0, dest = 16, len = 32, flags = 34, status = 36 }
    struct gnttab_query_size(16) { dom = 0, nr_frames = 4, max_nr_frames = 8, status = 12 }
    struct gnttab_unmap_and_replace(24) { host_addr = 0, new_addr = 8, handle = 16, status = 20 }
    struct gnttab_set_version(4) { version = 0 }
    struct gnttab_get_status_frames(16) { nr_frames = 0, dom = 4, status = 6, frame_list = 8 }
    struct gnttab_get_version(8) { dom = 0, pad = 2, version = 4 }
    struct gnttab_swap_grant_ref(12) { ref_a = 0, ref_b = 4, status = 8 }
    struct gnttab_cache_flush(16) { a = 0, offset = 8, length = 10, op = 12 }
    struct xen_memory_reservation(32) {
        extent_start = 0, nr_extents = 8, extent_order = 16, mem_flags = 20, domid = 24,
    }
    struct xen_memory_exchange(72) { r#in "in" = 0, out = 32, nr_exchanged = 64 }
    struct xen_memory_domain(2) { domid = 0 }
    struct xen_machphys_mfn_list(24) { max_extents = 0, extent_start = 8, nr_extents = 16 }
    struct xen_machphys_mapping(24) { v_start = 0, v_end = 8, max_mfn = 16 }
    struct xen_add_to_physmap(24) { domid = 0, size = 2, space = 4, idx = 8, gpfn = 16 }
    struct xen_add_to_physmap_batch(32) {
        domid = 0, space = 2, size = 4, foreign_domid "u" = 6, idxs = 8, gpfns = 16, errs = 24,
    }
    struct xen_remove_from_physmap(16) { domid = 0, gpfn = 8 }
    struct xen_memory_map(16) { nr_entries = 0, buffer = 8 }
    struct xen_foreign_memory_map(24) { domid = 0, map = 8 }
    struct xen_pod_target(40) { target_pages = 0, tot_pages = 8, pod_cache_pages = 16, pod_entries = 24, domid = 32 }
    struct xen_reserved_device_memory(16) { start_pfn = 0, nr_pages = 8 }
    struct xen_reserved_device_memory_map(24) { flags = 0, nr_entries = 4, buffer = 8, pci "dev" = 16 }
    struct xen_mem_acquire_resource(32) {
        domid = 0, typ "type" = 2, id = 4, nr_frames = 8, pad = 12, frame = 16, frame_list = 24,
    }
    struct xen_vmemrange(24) { start = 0, end = 8, flags = 16, nid = 20 }
    struct xen_vnuma_topology_info(40) {
        domid = 0, pad = 2, nr_vnodes = 4, nr_vcpus = 8, nr_vmemranges = 12, vdistance = 16, vcpu_to_vnode = 24,
        vmemrange = 32,
    }
    struct physdev_eoi(4) { irq = 0 }
    struct physdev_pirq_eoi_gmfn(8) { gmfn = 0 }
    struct physdev_irq_status_query(8) { irq = 0, flags = 4 }
    struct physdev_set_iopl(4) { iopl = 0 }
    struct physdev_set_iobitmap(16) { bitmap = 0, nr_ports = 8 }
    struct physdev_apic(16) { apic_physbase = 0, reg = 8, value = 12 }
    struct physdev_irq(8) { irq = 0, vector = 4 }
    struct physdev_map_pirq(40) {
        domid = 0, typ "type" = 4, index = 8, pirq = 12, bus = 16, devfn = 20, entry_nr = 24, table_base = 32,
    }
    struct physdev_unmap_pirq(8) { domid = 0, pirq = 4 }
    struct physdev_manage_pci(2) { bus = 0, devfn = 1 }
    struct physdev_restore_msi(2) { bus = 0, devfn = 1 }
    struct physdev_manage_pci_ext(16) { bus = 0, devfn = 1, is_extfn = 4, is_virtfn = 8, physfn = 12 }
    struct physdev_setup_gsi(8) { gsi = 0, triggering = 4, polarity = 5 }
    struct physdev_get_free_pirq(8) { typ "type" = 0, pirq = 4 }
    struct physdev_pci_mmcfg_reserved(16) { address = 0, segment = 8, start_bus = 10, end_bus = 11, flags = 12 }
    struct physdev_pci_device_add(12) { seg = 0, bus = 2, devfn = 3, flags = 4, physfn = 8 }
    struct physdev_pci_device(4) { seg = 0, bus = 2, devfn = 3 }
    struct physdev_dbgp_op(6) { op = 0, bus = 1, pci "u" = 2 }
    struct physdev_op(24) { cmd = 0, u = 8 }
    struct xen_compile_info(144) { compiler = 0, compile_by = 64, compile_domain = 80, compile_date = 112 }
    struct xen_platform_parameters(8) { virt_start = 0 }
    struct xen_feature_info(8) { submap_idx = 0, submap = 4 }
    struct xen_build_id(4) { len = 0 }
    struct xen_platform_op(136) { cmd = 0, interface_version = 4, u = 8 }
    struct xenpf_settime32(16) { secs = 0, nsecs = 4, system_time = 8 }
    struct xenpf_settime64(24) { secs = 0, nsecs = 8, mbz = 12, system_time = 16 }
    struct xenpf_add_memtype(32) { mfn = 0, nr_mfns = 8, typ "type" = 16, handle = 20, reg = 24 }
    struct xenpf_del_memtype(8) { handle = 0, reg = 4 }
    struct xenpf_read_memtype(32) { reg = 0, mfn = 8, nr_mfns = 16, typ "type" = 24 }
    struct xenpf_microcode_update(16) { data = 0, length = 8 }
    struct xenpf_platform_quirk(4) { quirk_id = 0 }
    struct xenpf_efi_runtime_call(56) { function = 0, misc = 4, status = 8, u = 16 }
    struct xenpf_firmware_info(40) { typ "type" = 0, index = 4, u = 8 }
    struct xenpf_enter_acpi_sleep(12) { val_a = 0, val_b = 2, sleep_state = 4, flags = 8 }
    struct xenpf_change_freq(16) { flags = 0, cpu = 4, freq = 8 }
    struct xenpf_getidletime(32) { cpumap_bitmap = 0, cpumap_nr_cpus = 8, idletime = 16, now = 24 }
    struct xenpf_set_processor_pminfo(112) { id = 0, typ "type" = 4, u = 8 }
    struct xen_processor_power(16) { count = 0, flags = 4, states = 8 }
    struct xen_pct_register(16) {
        descriptor = 0, length = 2, space_id = 4, bit_width = 5, bit_offset = 6, reserved = 7, address = 8,
    }
    struct xen_psd_package(40) { num_entries = 0, revision = 8, domain = 16, coord_type = 24, num_processors = 32 }
    struct xen_processor_performance(104) {
        flags = 0, platform_limit = 4, control_register = 8, status_register = 24, state_count = 40, states = 48,
        domain_info = 56, shared_type = 96,
    }
    struct xenpf_pcpuinfo(20) { xen_cpuid = 0, max_present = 4, flags = 8, apic_id = 12, acpi_id = 16 }
    struct xenpf_pcpu_version(32) {
        xen_cpuid = 0, max_present = 4, vendor_id = 8, family = 20, model = 24, stepping = 28,
    }
    struct xenpf_cpu_ol(4) { cpuid = 0 }
    struct xenpf_cpu_hotadd(12) { apic_id = 0, acpi_id = 4, pxm = 8 }
    struct xenpf_mem_hotadd(24) { spfn = 0, epfn = 8, pxm = 16, flags = 20 }
    struct xenpf_core_parking(8) { typ "type" = 0, idle_nums = 4 }
    struct xenpf_resource_entry(24) { u = 0, rsvd = 4, idx = 8, val = 16 }
    struct xenpf_resource_op(16) { nr_entries = 0, cpu = 4, entries = 8 }
    struct xenpf_symdata(32) { namelen = 0, symnum = 4, name = 8, address = 16, typ "type" = 24 }
    struct xen_sysctl(136) { cmd = 0, interface_version = 4, u = 8 }
    struct xen_sysctl_readconsole(24) {
        clear = 0, incremental = 1, pad0 = 2, pad1 = 3, index = 4, buffer = 8, count = 16,
    }
    struct xen_sysctl_tbuf_op(48) { cmd = 0, cpu_mask = 8, evt_mask = 24, buffer_mfn = 32, size = 40 }
    struct xen_sysctl_physinfo(112) {
        threads_per_core = 0, cores_per_socket = 4, nr_cpus = 8, max_cpu_id = 12, nr_nodes = 16, max_node_id = 20,
        cpu_khz = 24, capabilities = 28, arch_capabilities = 32, pad = 36, total_pages = 40, free_pages = 48,
        scrub_pages = 56, outstanding_pages = 64, max_mfn = 72, hw_cap = 80,
    }
    struct xen_sysctl_sched_id(4) { sched_id = 0 }
    struct xen_sysctl_perfc_op(32) { cmd = 0, nr_counters = 4, nr_vals = 8, desc = 16, val = 24 }
    struct xen_sysctl_getdomaininfolist(24) { first_domain = 0, max_domains = 4, buffer = 8, num_domains = 16 }
    struct xen_sysctl_debug_keys(16) { keys = 0, nr_keys = 8 }
    struct xen_sysctl_cpuinfo(8) { idletime = 0 }
    struct xen_sysctl_getcpuinfo(24) { max_cpus = 0, info = 8, nr_cpus = 16 }
    struct xen_sysctl_availheap(24) { min_bitwidth = 0, max_bitwidth = 4, node = 8, avail_bytes = 16 }
    struct xen_sysctl_cputopo(12) { core = 0, socket = 4, node = 8 }
    struct xen_sysctl_cputopoinfo(16) { num_cpus = 0, cputopo = 8 }
    struct xen_sysctl_meminfo(16) { memsize = 0, memfree = 8 }
    struct xen_sysctl_numainfo(24) { num_nodes = 0, meminfo = 8, distance = 16 }
    struct xen_sysctl_cpupool_op(40) {
        op = 0, cpupool_id = 4, sched_id = 8, domid = 12, cpu = 16, n_dom = 20, cpumap = 24,
    }
    struct xen_sysctl_credit_schedule(12) { tslice_ms = 0, ratelimit_us = 4, vcpu_migr_delay_us = 8 }
    struct xen_sysctl_credit2_schedule(4) { ratelimit_us = 0 }
    struct xen_sysctl_pcitopoinfo(24) { num_devs = 0, devs = 8, nodes = 16 }
    struct xen_sysctl_cpu_levelling_caps(4) { caps = 0 }
    struct xen_sysctl_cpu_featureset(16) { index = 0, nr_features = 4, features = 8 }
    struct xen_sysctl_cpu_policy(32) { index = 0, nr_leaves = 4, nr_msrs = 8, _rsvd = 12, leaves = 16, msrs = 24 }
    struct xen_domctl(144) { cmd = 0, interface_version = 4, domain = 8, u = 16 }
    struct xen_domctl_createdomain(64) {
        ssidref = 0, handle = 4, flags = 20, iommu_opts = 24, max_vcpus = 28, max_evtchn_port = 32,
        max_grant_frames = 36, max_maptrack_frames = 40, grant_opts = 44, vmtrace_size = 48, cpupool_id = 52,
        arch = 56,
    }
    struct xen_domctl_getdomaininfo(112) {
        domain = 0, pad1 = 2, flags = 4, tot_pages = 8, max_pages = 16, outstanding_pages = 24, shr_pages = 32,
        paged_pages = 40, shared_info_frame = 48, cpu_time = 56, nr_online_vcpus = 64, max_vcpu_id = 68,
        ssidref = 72, handle = 76, cpupool = 92, gpaddr_bits = 96, pad2 = 97, arch_config = 104,
    }
    struct xen_domctl_getpageframeinfo3(16) { num = 0, array = 8 }
    struct xen_domctl_shadow_op_stats(8) { fault_count = 0, dirty_count = 4 }
    struct xen_domctl_shadow_op(40) { op = 0, mode = 4, mb = 8, dirty_bitmap = 16, pages = 24, stats = 32 }
    struct xen_domctl_max_mem(8) { max_memkb = 0 }
    struct xen_domctl_vcpucontext(16) { vcpu = 0, ctxt = 8 }
    struct xen_domctl_getvcpuinfo(24) { vcpu = 0, online = 4, blocked = 5, running = 6, cpu_time = 8, cpu = 16 }
    struct xen_domctl_nodeaffinity(16) { nodemap = 0 }
    struct xen_domctl_vcpuaffinity(40) { vcpu = 0, flags = 4, cpumap_hard = 8, cpumap_soft = 24 }
    struct xen_domctl_max_vcpus(4) { max = 0 }
    struct xen_domctl_sched_credit(4) { weight = 0, cap = 2 }
    struct xen_domctl_sched_credit2(4) { weight = 0, cap = 2 }
    struct xen_domctl_scheduler_op(24) { sched_id = 0, cmd = 4, u = 8 }
    struct xen_domctl_setdomainhandle(16) { handle = 0 }
    struct xen_domctl_setdebugging(1) { enable = 0 }
    struct xen_domctl_irq_permission(8) { pirq = 0, allow_access = 4, pad = 5 }
    struct xen_domctl_iomem_permission(24) { first_mfn = 0, nr_mfns = 8, allow_access = 16 }
    struct xen_domctl_ioport_permission(12) { first_port = 0, nr_ports = 4, allow_access = 8 }
    struct xen_domctl_hypercall_init(8) { gmfn = 0 }
    struct xen_domctl_settimeoffset(8) { time_offset_seconds = 0 }
    struct xen_domctl_address_size(4) { size = 0 }
    struct xen_domctl_sendtrigger(8) { trigger = 0, vcpu = 4 }
    struct xen_domctl_ext_vcpucontext(64) {
        vcpu = 0, size = 4, syscall32_callback_eip = 8, sysenter_callback_eip = 16, syscall32_callback_cs = 24,
        sysenter_callback_cs = 26, syscall32_disables_events = 28, sysenter_disables_events = 29, vmce = 32,
    }
    struct xen_domctl_set_target(2) { target = 0 }
    struct xen_domctl_cpu_policy(40) {
        nr_leaves = 0, nr_msrs = 4, leaves = 8, msrs = 16, err_leaf = 24, err_subleaf = 28, err_msr = 32,
    }
    struct xen_domctl_tsc_info(24) { tsc_mode = 0, gtsc_khz = 4, incarnation = 8, pad = 12, elapsed_nsec = 16 }
    struct xen_domctl_set_virq_handler(4) { virq = 0 }
    struct xen_domctl_vcpuextstate(32) { vcpu = 0, xfeature_mask = 8, size = 16, buffer = 24 }
    struct xen_domctl_vcpu_msr(16) { index = 0, reserved = 4, value = 8 }
    struct xen_domctl_vcpu_msrs(16) { vcpu = 0, msr_count = 4, msrs = 8 }
    struct xen_domctl_vnuma(48) {
        nr_vnodes = 0, nr_vmemranges = 4, nr_vcpus = 8, pad = 12, vdistance = 16, vcpu_to_vnode = 24,
        vnode_to_pnode = 32, vmemrange = 40,
    }
    struct xen_domctl_paging_mempool(8) { size = 0 }
    struct blkif_request_segment(8) { gref = 0, first_sect = 4, last_sect = 5 }
    struct blkif_request(112) {
        operation = 0, nr_segments = 1, handle = 2, id = 8, sector_number = 16, seg = 24,
    }
    struct blkif_request_discard(32) {
        operation = 0, flag = 1, handle = 2, id = 8, sector_number = 16, nr_sectors = 24,
    }
    struct blkif_request_indirect(64) {
        operation = 0, indirect_op = 1, nr_segments = 2, id = 8, sector_number = 16, handle = 24, indirect_grefs = 28,
    }
    struct blkif_response(16) { id = 0, operation = 8, status = 10 }
    struct netif_tx_request(12) { gref = 0, offset = 4, flags = 6, id = 8, size = 10 }
    struct netif_tx_response(4) { id = 0, status = 2 }
    struct netif_rx_request(8) { id = 0, pad = 2, gref = 4 }
    struct netif_rx_response(8) { id = 0, offset = 2, flags = 4, status = 6 }
    struct netif_extra_info(8) { r#type "type" = 0, flags = 1, u = 2 }
    struct xen_netif_ctrl_request(16) { id = 0, r#type "type" = 2, data = 4 }
    struct xen_netif_ctrl_response(12) { id = 0, r#type "type" = 2, status = 4, data = 8 }
    struct xen_netif_gref(8) { r#ref "ref" = 0, flags = 4, status = 6 }
    struct xencons_interface(3088) { r#in "in" = 0, out = 1024, in_cons = 3072, in_prod = 3076, out_cons = 3080, out_prod = 3084 }
}
