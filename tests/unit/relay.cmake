slsr_unit(relay_drain_test relay_drain_test.c)
slsr_unit(relay_host_test relay_host_test.c)
slsr_unit(relay_page_test relay_page_test.c)
