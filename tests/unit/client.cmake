foreach(name sign answer http)
  slsr_unit(client_${name}_test client_${name}_test.c)
endforeach()
target_link_libraries(client_sign_test PRIVATE PkgConfig::CRYPTO)
