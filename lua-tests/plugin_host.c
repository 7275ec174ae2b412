/* A host without Lua: plugin_host PLUGIN SCRIPT. It loads a plugin (embed.c) in the way that keeps the plugin's
 * libraries, such as Lua's, from other libraries. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!plugin) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    int (*run_script)(int, char **) = (int (*)(int, char **))dlsym(plugin, "run_script");
    return run_script(argc - 1, argv + 1);
}
