#include <sparknet/sparknet_c.h>
#include <stdio.h>
#include <string.h>

int main(void) {
  const char* words = "layer { name: 'x' type: 'Poling' }";
  const sparknet_text prototxt = {words, strlen(words)}, name = {"mine", 4};
  sparknet_net_param* net = NULL;
  const sparknet_status status = sparknet_net_param_parse(prototxt, name, &net);
  const sparknet_text message = sparknet_message();
  printf("%.*s\n", (int)message.size, message.data);
  return status == SPARKNET_DATA_ERROR && net == NULL && sparknet_c_version() >= SPARKNET_C_VERSION ? 0 : 1;
}
